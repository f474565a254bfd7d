//! Command lines, what is meant by them, and what is said of those that make no sense.

use super::*;

fn config(args: &[&str]) -> Result<Config, NoConfig> {
    let args = ["etcdynamo"].iter().chain(args).map(OsString::from);
    Config::from_args(args)
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

#[test]
fn without_flags_it_is_a_small_server_on_this_machine() {
    let expected = Config {
        listen: vec![ListenUrl { host: "127.0.0.1".to_owned(), port: 2379 }],
        advertise: Vec::new(),
        name: "default".to_owned(),
        store: StoreConfig::Embedded { data_dir: "etcdynamo.data".into() },
        cors: None,
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
    };
    assert_eq!(good(&[]), expected);
}

#[test]
fn listen_urls() {
    for (urls, listen) in [
        ("http://127.0.0.1:0", vec![("127.0.0.1", 0)]),
        ("http://0.0.0.0:2379/", vec![("0.0.0.0", 2379)]),
        ("http://localhost:80, http://[::1]:4001", vec![("localhost", 80), ("::1", 4001)]),
    ] {
        let listen: Vec<ListenUrl> = listen
            .into_iter()
            .map(|(host, port)| ListenUrl { host: host.to_owned(), port })
            .collect();
        assert_eq!(good(&["--listen-client-urls", urls]).listen, listen, "{urls}");
    }
}

#[test]
fn what_is_advertised() {
    let bound: Vec<SocketAddr> =
        ["127.0.0.1:4242", "[::1]:4243"].iter().map(|at| at.parse().unwrap()).collect();
    assert_eq!(good(&[]).advertised(&bound), ["http://127.0.0.1:4242", "http://[::1]:4243"]);
    let given =
        good(&["--advertise-client-urls", "https://etcd.example.com/,http://10.0.0.1:2379"]);
    assert_eq!(given.advertised(&bound), ["https://etcd.example.com", "http://10.0.0.1:2379"]);

    let everywhere: [SocketAddr; 1] = ["0.0.0.0:2379".parse().unwrap()];
    assert_eq!(good(&[]).hint(&bound), None);
    assert_eq!(given.hint(&everywhere), None);
    assert!(good(&[]).hint(&everywhere).unwrap().contains("--advertise-client-urls"));
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
        "--expose-request-units",
        "--max-concurrent-requests=9",
        "--request-timeout-ms=1500",
        "--shutdown-timeout-ms=0",
    ]);
    assert_eq!(config.log_format, LogFormat::Json);
    assert_eq!(config.log_level, Level::DEBUG);
    assert_eq!(config.max_connections, 7);
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
        (&["--listen-client-urls", "https://127.0.0.1:2379"], "listen-client-urls", "TLS"),
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
        "--max-connections=0",
        "--log-level=loud",
    ]);
    let flags: Vec<&str> = told.iter().filter_map(|line| line.split(':').next()).collect();
    let expected = [
        "--endpoint-url",
        "--create-table",
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
    for arg in Flags::command().get_arguments().filter(|arg| !arg.is_hide_set()) {
        let Some(long) = arg.get_long() else { continue };
        let variable = format!("ETCDYNAMO_{}", long.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(variable.as_str()));
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
