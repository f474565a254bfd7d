# syntax=docker/dockerfile:1
# etcdynamo in a small image: built on Debian, run on Debian's distroless base, as nobody in particular.
# The dependencies are a layer of their own, built from the manifests alone.

FROM rust:1.95-bookworm AS build
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY compat-tests/Cargo.toml compat-tests/Cargo.toml
RUN mkdir -p src compat-tests/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs compat-tests/src/lib.rs \
    && cargo build --release --locked -p etcdynamo \
    && rm -r src
COPY src src
# The sources are newer than what was built from nothing.
RUN touch src/main.rs src/lib.rs && cargo build --release --locked -p etcdynamo && mkdir data

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/etcdynamo /usr/local/bin/etcdynamo
# Where the embedded store keeps its data; mount a volume here, or use --table.
COPY --from=build --chown=nonroot:nonroot /build/data /var/lib/etcdynamo
WORKDIR /var/lib/etcdynamo
EXPOSE 2379
ENV ETCDYNAMO_LISTEN_CLIENT_URLS=http://0.0.0.0:2379
ENTRYPOINT ["/usr/local/bin/etcdynamo"]
