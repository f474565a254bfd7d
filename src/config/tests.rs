//! Command lines, what is meant by them, and what is said of those that make no sense.

use std::ffi::OsString;

use super::*;

fn config(args: &[&str]) -> Result<Config, NoConfig> {
    let Asked::Serve(config) = asked(args)? else { panic!("{args:?} ask for a command") };
    Ok(*config)
}

fn asked(args: &[&str]) -> Result<Asked, NoConfig> {
    Asked::from_args(["etcdynamo"].iter().chain(args).map(OsString::from))
}

fn good(args: &[&str]) -> Config {
    config(args).unwrap_or_else(|refused| panic!("{args:?}: {}", refused.text))
}

fn mistakes(args: &[&str]) -> Vec<String> {
    let refused = config(args).expect_err("a mistake");
    assert_eq!(refused.exit_code, EXIT_USAGE, "{args:?}");
    let lines = refused.text.lines().filter_map(|line| line.strip_prefix("error: "));
    lines.map(str::to_owned).collect()
}

fn table_config(table: &str) -> TableConfig {
    TableConfig {
        table: table.to_owned(),
        keyspace: "default".to_owned(),
        region: None,
        endpoint_url: None,
        create_table: false,
        read_consistency: ReadConsistency::Strong,
    }
}

fn listen(scheme: Scheme, host: &str, port: u16) -> ListenUrl {
    ListenUrl { scheme, host: host.to_owned(), port }
}

#[test]
fn without_flags_it_is_a_small_server_on_this_machine() {
    let expected = Config {
        listen: vec![listen(Scheme::Http, "127.0.0.1", 2379)],
        listen_metrics: Vec::new(),
        tls: None,
        tls_is_idle: false,
        client_limits: ClientLimits {
            requests_per_second: None,
            header_timeout: Duration::from_secs(15),
        },
        advertise: Vec::new(),
        name: "default".to_owned(),
        store: StoreConfig::Embedded { data_dir: "etcdynamo.data".into() },
        cors: None,
        read_only: false,
        allow_insecure_listen: false,
        watch: WatchConfig { kind: WatchKind::Local, window: Some(1000), timeout: None },
        log_format: LogFormat::Text,
        log_level: Level::INFO,
        expose_request_units: false,
        max_connections: 4096,
        max_concurrent_requests: 4096,
        request_timeout: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(20),
        observe: ObserveConfig {
            slow_request: Some(Duration::from_secs(1)),
            audit_log: false,
            traces_url: None,
            shutdown_delay: Duration::ZERO,
        },
        runtime: Runtime::Server,
    };
    assert_eq!(good(&[]), expected);
}

#[test]
fn listen_urls() {
    for (urls, expected) in [
        ("http://127.0.0.1:0", vec![listen(Scheme::Http, "127.0.0.1", 0)]),
        ("http://0.0.0.0:2379/", vec![listen(Scheme::Http, "0.0.0.0", 2379)]),
        (
            "http://localhost:80, http://[::1]:4001",
            vec![listen(Scheme::Http, "localhost", 80), listen(Scheme::Http, "::1", 4001)],
        ),
        (
            "https://localhost:443,http://h:443",
            vec![listen(Scheme::Https, "localhost", 443), listen(Scheme::Http, "h", 443)],
        ),
    ] {
        let args = ["--listen-client-urls", urls, "--cert-file=c", "--key-file=k"];
        assert_eq!(good(&args).listen, expected, "{urls}");
    }
}

#[test]
fn tls_is_for_listeners_that_speak_it() {
    let https = "--listen-client-urls=http://h:1,https://h:2";
    let pair = ["--cert-file=c", "--key-file=k"];
    let files = |client_ca: Option<&str>, min_version| TlsConfig {
        cert: "c".into(),
        key: "k".into(),
        client_ca: client_ca.map(PathBuf::from),
        min_version,
    };
    for (args, tls, is_idle) in [
        (&[][..], None, false),
        (&[https], Some(files(None, TlsVersion::Tls12)), false),
        (&[https, "--trusted-ca-file=a"], Some(files(Some("a"), TlsVersion::Tls12)), false),
        (
            &[https, "--trusted-ca-file=a", "--client-cert-auth", "--tls-min-version=TLS1.3"],
            Some(files(Some("a"), TlsVersion::Tls13)),
            false,
        ),
        (&["--listen-metrics-urls=https://h:3"], Some(files(None, TlsVersion::Tls12)), false),
        // As etcd does, which says so in its log.
        (
            &["--listen-metrics-urls=http://h:3", "--client-cert-auth", "--trusted-ca-file=a"],
            None,
            true,
        ),
    ] {
        let pair = if args.is_empty() { &[][..] } else { &pair[..] };
        let config = good(&[pair, args].concat());
        assert_eq!((config.tls.clone(), config.tls_is_idle), (tls, is_idle), "{args:?}");
        let bound: [SocketAddr; 2] = ["10.0.0.1:1", "10.0.0.1:2"].map(|at| at.parse().unwrap());
        assert_eq!(config.hints(&bound).len(), usize::from(is_idle), "{args:?}");
        if args.first() == Some(&https) {
            assert_eq!(config.advertised(&bound), ["http://10.0.0.1:1", "https://10.0.0.1:2"]);
        }
    }
    let metrics = good(&["--listen-metrics-urls=http://h:3,http://h:4"]).listen_metrics;
    assert_eq!(metrics, [listen(Scheme::Http, "h", 3), listen(Scheme::Http, "h", 4)]);
}

#[test]
fn what_is_advertised() {
    let bound: Vec<SocketAddr> =
        ["127.0.0.1:4242", "[::1]:4243"].iter().map(|at| at.parse().unwrap()).collect();
    let two = good(&["--listen-client-urls=http://127.0.0.1:0,http://[::1]:0"]);
    assert_eq!(two.advertised(&bound), ["http://127.0.0.1:4242", "http://[::1]:4243"]);
    let given =
        good(&["--advertise-client-urls", "https://etcd.example.com/,http://10.0.0.1:2379"]);
    assert_eq!(given.advertised(&bound), ["https://etcd.example.com", "http://10.0.0.1:2379"]);

    let everywhere: [SocketAddr; 1] = ["0.0.0.0:2379".parse().unwrap()];
    assert!(good(&[]).hints(&bound).is_empty());
    assert!(given.hints(&everywhere).is_empty());
    assert!(good(&[]).hints(&everywhere)[0].contains("--advertise-client-urls"));
}

#[test]
fn what_is_open_to_the_network() {
    let bound: Vec<SocketAddr> = [
        "127.0.0.1:1",
        "[::1]:2",
        "[::ffff:127.0.0.2]:3",
        "0.0.0.0:4",
        "[::]:5",
        "10.0.0.1:6",
        "10.0.0.1:7",
        "[::ffff:10.0.0.1]:8",
    ]
    .map(|at| at.parse().unwrap())
    .to_vec();
    let urls =
        "http://a:1,http://a:2,http://a:3,http://a:4,http://a:5,https://a:6,http://a:7,http://a:8";
    let config = good(&["--listen-client-urls", urls, "--cert-file=c", "--key-file=k"]);
    let expected =
        ["http://0.0.0.0:4", "http://[::]:5", "http://10.0.0.1:7", "http://[::ffff:10.0.0.1]:8"];
    assert_eq!(config.insecure_urls(&bound), expected);
    assert!(!config.allow_insecure_listen);
    assert!(good(&["--allow-insecure-listen"]).allow_insecure_listen);
}

#[test]
fn a_table_means_dynamodb() {
    assert_eq!(good(&["--table", "etcd"]).store, StoreConfig::DynamoDb(table_config("etcd")));
    let all = good(&[
        "--store=dynamodb",
        "--table=my.etcd-1",
        "--keyspace=prod_1",
        "--region=eu-west-1",
        "--endpoint-url=http://127.0.0.1:8000",
        "--create-table",
        "--read-consistency=eventual",
    ]);
    let expected = TableConfig {
        keyspace: "prod_1".to_owned(),
        region: Some("eu-west-1".to_owned()),
        endpoint_url: Some("http://127.0.0.1:8000".to_owned()),
        create_table: true,
        read_consistency: ReadConsistency::Eventual,
        ..table_config("my.etcd-1")
    };
    assert_eq!(all.store, StoreConfig::DynamoDb(expected));
}

#[test]
fn a_gateway_may_only_read() {
    assert!(!good(&["--table=etcd"]).read_only);
    let config = good(&["--table=etcd", "--read-only"]);
    assert!(config.read_only);
    assert_eq!(config.watch.kind, WatchKind::Streams);
    assert!(good(&["--table=etcd", "--read-only", "--watch=off"]).read_only);
}

#[test]
fn origins() {
    assert_eq!(good(&["--cors=*"]).cors, None);
    assert_eq!(good(&["--cors=http://a,*"]).cors, None);
    assert_eq!(good(&["--cors="]).cors, Some(Vec::new()));
    let two = vec!["http://a".to_owned(), "https://b:8080".to_owned()];
    assert_eq!(good(&["--cors", "http://a, https://b:8080"]).cors, Some(two));
}

#[test]
fn watches() {
    for (args, window, timeout_ms) in [
        (&["--watch=local", "--watch-window=7"][..], Some(7), None),
        (&["--watch=off"], None, None),
        (&["--watch-timeout-ms=55000"], Some(1000), Some(55_000)),
        (&["--table=etcd"], Some(1000), None),
        (&["--table=etcd", "--watch=local"], Some(1000), None),
        (&["--table=etcd", "--watch=streams"], Some(1000), None),
        (&["--table=etcd", "--watch=off"], None, None),
    ] {
        let config = good(args);
        assert_eq!(config.watch.window, window, "{args:?}");
        assert_eq!(config.watch.timeout, timeout_ms.map(Duration::from_millis), "{args:?}");
    }
}

#[test]
fn log_and_limits() {
    let config = good(&[
        "--log-format=json",
        "--log-level=DEBUG",
        "--max-connections=7",
        "--max-requests-per-second-per-client=50",
        "--header-timeout-ms=2000",
        "--expose-request-units",
        "--max-concurrent-requests=9",
        "--request-timeout-ms=1500",
        "--shutdown-timeout-ms=0",
    ]);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.log_level, Level::DEBUG);
    assert_eq!(config.max_connections, 7);
    assert_eq!(config.client_limits.requests_per_second.map(u32::from), Some(50));
    assert_eq!(config.client_limits.header_timeout, Duration::from_secs(2));
    assert!(config.expose_request_units);
    assert_eq!(config.max_concurrent_requests, 9);
    assert_eq!(config.request_timeout, Duration::from_millis(1500));
    assert_eq!(config.shutdown_timeout, Duration::ZERO);
}

#[test]
fn each_mistake_names_its_flag() {
    for (args, flag, word) in [
        (&["--listen-client-urls", ""][..], "listen-client-urls", "names no URL"),
        (&["--listen-client-urls", "127.0.0.1:2379"], "listen-client-urls", "is no URL"),
        (&["--listen-client-urls", "https://127.0.0.1:1"], "listen-client-urls", "--cert-file"),
        (&["--listen-metrics-urls", "https://127.0.0.1:1"], "listen-metrics-urls", "--cert-file"),
        (&["--listen-metrics-urls", "http://127.0.0.1"], "listen-metrics-urls", "names no port"),
        (&["--cert-file=c"], "cert-file", "needs --key-file"),
        (&["--listen-client-urls=https://h:1", "--key-file=c"], "key-file", "needs --cert-file"),
        (&["--client-cert-auth"], "client-cert-auth", "needs --trusted-ca-file"),
        (&["--tls-min-version=TLS1.1"], "tls-min-version", "neither TLS1.2 nor TLS1.3"),
        (&["--header-timeout-ms=0"], "header-timeout-ms", "more than 0"),
        (
            &["--max-requests-per-second-per-client=-1"],
            "max-requests-per-second-per-client",
            "is no number",
        ),
        (&["--listen-client-urls", "unix://a:1"], "listen-client-urls", "neither http nor https"),
        (&["--listen-client-urls", "http://127.0.0.1"], "listen-client-urls", "names no port"),
        (&["--listen-client-urls", "http://h:1/p"], "listen-client-urls", "more than a host"),
        (&["--listen-client-urls", "http://u@h:1"], "listen-client-urls", "more than a host"),
        (&["--advertise-client-urls", "http://h:0"], "advertise-client-urls", "port 0"),
        (&["--advertise-client-urls", "h"], "advertise-client-urls", "is no URL"),
        (&["--advertise-client-urls", ","], "advertise-client-urls", "names no URL"),
        (&["--name", ""], "name", "printable"),
        (&["--cors", "example.com"], "cors", "is no origin"),
        (&["--cors", "http://a/"], "cors", "no path"),
        (&["--log-level", "loud"], "log-level", "is none of"),
        (&["--watch=streams"], "watch", "belongs to DynamoDB"),
        (&["--watch=maybe"], "watch", "is none of"),
        (&["--watch-window=few"], "watch-window", "is no number"),
        (&["--watch-timeout-ms=1s"], "watch-timeout-ms", "is no number"),
        (&["--watch-window=0"], "watch-window", "more than 0"),
        (&["--read-only"], "read-only", "belongs to DynamoDB"),
        (&["--table=etcd", "--read-only", "--create-table"], "create-table", "--read-only"),
        (&["--table=etcd", "--read-only", "--watch=local"], "watch", "--read-only"),
        (&["--max-connections", "0"], "max-connections", "more than 0"),
        (&["--max-concurrent-requests=0"], "max-concurrent-requests", "more than 0"),
        (&["--request-timeout-ms", "0"], "request-timeout-ms", "more than 0"),
        (&["--store=dynamodb"], "table", "table's name"),
        (&["--table=x"], "table", "table's name"),
        (&["--table=etcd", "--keyspace="], "keyspace", "1 to 64"),
        (&["--table=etcd", "--keyspace=a/b"], "keyspace", "1 to 64"),
        (&["--table=etcd", "--region="], "region", "empty"),
        (&["--table=etcd", "--endpoint-url=localhost"], "endpoint-url", "is no URL"),
        (&["--table=etcd", "--data-dir=d"], "data-dir", "belongs to the embedded store"),
        (&["--store=embedded", "--table=etcd"], "table", "--store is embedded"),
        (&["--region=eu-west-1"], "region", "name its --table"),
        (&["--keyspace=k"], "keyspace", "name its --table"),
        (&["--create-table"], "create-table", "name its --table"),
        (&["--read-consistency=strong"], "read-consistency", "name its --table"),
    ] {
        let told = mistakes(args);
        assert_eq!(told.len(), 1, "{args:?}: {told:?}");
        assert!(told[0].starts_with(&format!("--{flag}: ")), "{args:?}: {told:?}");
        assert!(told[0].contains(word), "{args:?}: {told:?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let told = mistakes(&[
        "--store=embedded",
        "--endpoint-url=x",
        "--create-table",
        "--listen-client-urls=https://h:1",
        "--client-cert-auth",
        "--max-connections=0",
        "--log-level=loud",
    ]);
    let flags: Vec<&str> = told.iter().filter_map(|line| line.split(':').next()).collect();
    let expected = [
        "--endpoint-url",
        "--create-table",
        "--client-cert-auth",
        "--listen-client-urls",
        "--log-level",
        "--max-connections",
    ];
    assert_eq!(flags, expected);
}

#[test]
fn what_cannot_be_parsed_is_a_mistake_too_but_help_is_not() {
    for args in [&["--nope"][..], &["--store=paper"], &["--max-connections=many"], &["stray"]] {
        assert_eq!(config(args).unwrap_err().exit_code, EXIT_USAGE, "{args:?}");
    }
    let help = config(&["--help"]).unwrap_err();
    assert_eq!(help.exit_code, 0);
    assert!(help.text.contains("ETCDYNAMO_LISTEN_CLIENT_URLS"));
    assert_eq!(config(&["--version"]).unwrap_err().exit_code, 0);
}

#[test]
fn every_flag_is_an_environment_variable_of_its_name() {
    use clap::CommandFactory as _;
    // A hidden one has the name that others gave to its variable.
    let arguments = commands::CommandLine::command();
    for arg in arguments.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let Some(long) = arg.get_long() else { continue };
        let variable = format!("ETCDYNAMO_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
    }
}

#[test]
fn a_health_check_asks_this_machine() {
    let check = |args: &[&str]| match asked(&[&["healthcheck"], args].concat()) {
        Ok(Asked::HealthCheck(check)) => check,
        other => panic!("{args:?}: {other:?}"),
    };
    let HealthCheck { host, port, path, timeout } = check(&[]);
    assert_eq!((host.as_str(), port, path.as_str()), ("127.0.0.1", 2379, "/livez"));
    assert_eq!(timeout, Duration::from_secs(2));
    for (urls, place) in [
        ("http://0.0.0.0:2379", ("127.0.0.1", 2379)),
        ("http://[::]:4001,http://10.0.0.1:1", ("::1", 4001)),
        ("http://localhost:80", ("localhost", 80)),
        ("https://0.0.0.0:2379, http://127.0.0.1:2381", ("127.0.0.1", 2381)),
    ] {
        let HealthCheck { host, port, .. } = check(&["--listen-client-urls", urls]);
        assert_eq!((host.as_str(), port), place, "{urls}");
    }
}

#[test]
fn a_health_check_has_flags_of_its_own_and_none_of_the_servers() {
    let wrong = ["--listen-client-urls", "http://[::]:0", "--path", "livez", "--timeout-ms", "0"];
    let told = mistakes(&[&["healthcheck"], &wrong[..]].concat());
    for (mistake, flag) in told.iter().zip(["--listen-client-urls", "--path", "--timeout-ms"]) {
        assert!(mistake.starts_with(flag), "{mistake}");
    }
    assert_eq!(told.len(), 3);
    for args in [["healthcheck", "--create-table"], ["--create-table", "healthcheck"]] {
        assert_eq!(asked(&args).expect_err("a mistake").exit_code, EXIT_USAGE, "{args:?}");
    }
}

#[test]
fn what_operators_see() {
    let given = good(&["--slow-request-ms", "0", "--audit-log", "--shutdown-delay-ms", "5000"]);
    let expected = ObserveConfig {
        slow_request: None,
        audit_log: true,
        traces_url: None,
        shutdown_delay: Duration::from_secs(5),
    };
    assert_eq!(given.observe, expected);
    for (endpoint, url) in [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("https://collector.example.com/otlp/", "https://collector.example.com/otlp/v1/traces"),
    ] {
        for flag in ["--otlp-endpoint", "--otel-exporter-otlp-endpoint"] {
            let given = good(&[flag, endpoint]).observe.traces_url.map(|url| url.to_string());
            assert_eq!(given.as_deref(), Some(url), "{flag}");
        }
    }
    assert_eq!(good(&["--otlp-endpoint", ""]).observe.traces_url, None);
    assert_eq!(
        mistakes(&[
            "--slow-request-ms",
            "soon",
            "--shutdown-delay-ms",
            "-",
            "--otlp-endpoint",
            "user:password@host",
        ]),
        [
            "--slow-request-ms: 'soon' is no number that it can be",
            "--shutdown-delay-ms: '-' is no number that it can be",
            "--otlp-endpoint: is no URL like http://127.0.0.1:4318",
        ]
    );
}
