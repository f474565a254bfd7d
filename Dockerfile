# etcdynamo in a small image: built on Debian, run on Debian's distroless base, as nobody in particular. It has no
# shell; the root file system may be read-only. docs/running-on-ecs.md says what was checked of this, and how.
#
# Each platform is built on itself, so nothing here names one: give buildx a builder of each kind, or let it emulate.
#     docker buildx build --platform linux/amd64,linux/arm64 --tag REPOSITORY:VERSION --push .
#
# Both bases are those that the tests run on: this Rust, and the glibc of Debian 12. To have the same image next year,
# pin the second one by its digest: --build-arg RUNTIME=gcr.io/distroless/cc-debian12:nonroot@sha256:...
ARG RUNTIME=gcr.io/distroless/cc-debian12:nonroot

FROM rust:1.95.0-bookworm AS build
WORKDIR /build
# The dependencies are a layer of their own, built from the manifests alone.
COPY Cargo.toml Cargo.lock ./
COPY compat-tests/Cargo.toml compat-tests/Cargo.toml
RUN mkdir -p src compat-tests/src \
    && echo 'fn main() {}' > src/main.rs \
    && touch src/lib.rs compat-tests/src/lib.rs \
    && cargo build --release --locked -p etcdynamo \
    && rm -r src
COPY src src
# The sources are older than what was built from nothing.
RUN touch src/main.rs src/lib.rs \
    && cargo build --release --locked -p etcdynamo \
    && mkdir data

FROM ${RUNTIME}
COPY --from=build /build/target/release/etcdynamo /usr/local/bin/etcdynamo
# Where the embedded store keeps its data: mount a volume here, or use --table, which writes nothing.
COPY --from=build --chown=65532:65532 /build/data /var/lib/etcdynamo
WORKDIR /var/lib/etcdynamo
# By number, so that an orchestrator can see that it is not root.
USER 65532:65532
# It serves the container's network only with TLS, or with users and roles, or with --allow-insecure-listen.
ENV ETCDYNAMO_LISTEN_CLIENT_URLS=http://0.0.0.0:2379
EXPOSE 2379
# ECS and Kubernetes look at their own settings and not at this.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/usr/local/bin/etcdynamo", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/etcdynamo"]
