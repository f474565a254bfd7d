"""The templates are well formed, say the same as each other, and use the policies of deploy/iam as they are.

CloudFormation's are linted by cfn-lint, which has AWS's own schemas of resources. Terraform's are parsed, loaded and
held to its format by Terraform itself (as a library); the provider of AWS is not to be had here, and without it
`validate` stops after that, so each argument and each attribute is looked up in the published bindings of the provider
instead, and each reference among what is declared. Not shown: what AWS makes of them.
"""

import json
import os
import re
import subprocess
import sys
import unittest

import support

SETTINGS = {"TableName": "T", "ClusterName": "C", "RepositoryArn": "arn:repository"}


def service(**parameters):
    return support.Template("service.yaml", **{**SETTINGS, **parameters})


def function(**parameters):
    return support.Template("lambda.yaml", **{"TableName": "T", **parameters})


def settings_of_the_server():
    """The variables that the server says it knows."""
    binary = os.environ.get("ETCDYNAMO_BIN") or os.path.join(support.REPO, "target", "release", "etcdynamo")
    told = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"\[env:\s+(ETCDYNAMO_\w+)=", told))


class CloudFormation(unittest.TestCase):
    def test_cfn_lint(self):
        files = sorted(os.listdir(support.CLOUDFORMATION))
        self.assertEqual(["lambda.yaml", "service.yaml", "table.yaml"], files)
        lint = os.path.join(os.path.dirname(sys.executable), "cfn-lint")
        paths = [os.path.join(support.CLOUDFORMATION, file) for file in files]
        done = subprocess.run([lint, *paths], capture_output=True, text=True)
        self.assertEqual((0, ""), (done.returncode, done.stdout), done.stderr)

    def test_no_aliases(self):
        """CloudFormation itself does not know YAML's anchors and aliases, which cfn-lint lets pass."""
        for file in os.listdir(support.CLOUDFORMATION):
            self.assertNotRegex(support.read("deploy", "cloudformation", file), r"(?m)^[^#'\"]*:\s[&*]\w")

    def assert_policy(self, name, resolved, places):
        """A policy in the template is that of the file."""
        text = json.dumps(support.iam(name))
        for placeholder, place in places.items():
            text = text.replace("${" + placeholder + "}", place)
        self.assertEqual(json.loads(text), resolved)

    def test_policies_are_those_of_the_files(self):
        own = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:%s"
        table = {"table_arn": own % ("dynamodb", "table/T"), "keyspace": "default"}
        plain = service().of_type("AWS::IAM::RolePolicy")
        self.assert_policy("serve", plain["TaskTablePolicy"]["PolicyDocument"], table)
        log_group = {"log_group_arn": own % ("logs", "log-group:${LogGroup}")}
        self.assert_policy("execution-log", plain["ExecutionLogPolicy"]["PolicyDocument"], log_group)
        pull = {"repository_arn": "arn:repository"}
        self.assert_policy("execution-pull", plain["ExecutionPullPolicy"]["PolicyDocument"], pull)
        self.assertNotIn("TaskKeyPolicy", plain)
        narrow = service(OnlyThisKeyspace="true", KeyArn="arn:key").of_type("AWS::IAM::RolePolicy")
        self.assert_policy("serve-one-keyspace", narrow["TaskTablePolicy"]["PolicyDocument"], table)
        key = {"key_arn": "arn:key", "region": "${AWS::Region}"}
        self.assert_policy("kms", narrow["TaskKeyPolicy"]["PolicyDocument"], key)

    def test_policies_of_the_function_are_those_of_the_files(self):
        own = "arn:${AWS::Partition}:%s:${AWS::Region}:${AWS::AccountId}:%s"
        table = {"table_arn": own % ("dynamodb", "table/T"), "keyspace": "default"}
        plain = function().of_type("AWS::IAM::RolePolicy")
        self.assertEqual({"TablePolicy", "LogPolicy"}, set(plain))
        self.assert_policy("serve", plain["TablePolicy"]["PolicyDocument"], table)
        log_group = {"log_group_arn": own % ("logs", "log-group:${LogGroup}")}
        self.assert_policy("execution-log", plain["LogPolicy"]["PolicyDocument"], log_group)
        narrow = function(OnlyThisKeyspace="true", KeyArn="arn:key").of_type("AWS::IAM::RolePolicy")
        self.assert_policy("serve-one-keyspace", narrow["TablePolicy"]["PolicyDocument"], table)
        key = {"key_arn": "arn:key", "region": "${AWS::Region}"}
        self.assert_policy("kms", narrow["KeyPolicy"]["PolicyDocument"], key)

    def test_the_dashboard_is_that_of_the_file(self):
        text = support.read("deploy", "cloudwatch-dashboard.json")
        for placeholder, place in {
            "region": "${AWS::Region}",
            "table": "T",
            "cluster": "C",
            "service": "${Service.Name}",
            "balancer": "${Balancer.LoadBalancerFullName}",
            "target_group": "${TargetGroup.TargetGroupFullName}",
        }.items():
            text = text.replace("${" + placeholder + "}", place)
        body = service().only("AWS::CloudWatch::Dashboard")["DashboardBody"]
        self.assertEqual(json.loads(text), json.loads(body))


class Terraform(unittest.TestCase):
    def test_format_and_load(self):
        """Terraform in a process of its own, as it is a library in Go."""
        for module in support.MODULES:
            with self.subTest(module):
                directory = os.path.join(support.TERRAFORM, module)
                done = subprocess.run(
                    [sys.executable, os.path.join(support.HERE, "terraform.py"), directory],
                    capture_output=True,
                    text=True,
                )
                self.assertEqual(0, done.returncode, done.stdout + done.stderr)

    def test_each_argument_and_attribute_is_the_providers(self):
        import provider

        for name in support.MODULES:
            with self.subTest(name):
                self.assertEqual([], provider.problems(support.Module(name)))

    def test_the_provider_is_asked_in_earnest(self):
        import provider

        module = support.Module("table")
        table = module.resources["aws_dynamodb_table.tree"]
        del table["name"]
        table["hash_keys"] = "pk"
        table["ttl"] = [{"attribute": "t"}]
        module.text += "${aws_dynamodb_table.tree.arm}"
        self.assertEqual(
            [
                "aws_dynamodb_table.tree: name is missing",
                "aws_dynamodb_table.tree.ttl: no attribute",
                "aws_dynamodb_table.tree: no hash_keys",
                "aws_dynamodb_table.tree has no arm",
            ],
            provider.problems(module),
        )

    def test_each_reference_is_declared_and_each_declaration_used(self):
        for name in support.MODULES:
            module = support.Module(name)
            text = re.sub(r"(?m)^\s*#.*$", "", module.text)
            for kind, declared in (("var", module.of_one_label("variable")), ("local", module.locals())):
                used = set(re.findall(rf"\b{kind}\.(\w+)", text))
                self.assertEqual(set(declared), used, f"{name}: {kind}")
            used = set(re.findall(r"(?<![\w.])(aws_\w+\.\w+)", text))
            self.assertLessEqual(used, set(module.resources), name)
            used = set(re.findall(r"\bdata\.(aws_\w+\.\w+)", text))
            self.assertEqual(set(module.data), used, name)

    def test_the_example_calls_the_modules_as_they_are(self):
        example = support.Module("example")
        modules = example.of_one_label("module")
        self.assertEqual({"table", "service"}, set(modules))
        for name, call in modules.items():
            called = support.Module(os.path.normpath(os.path.join("example", call.pop("source"))))
            variables = called.of_one_label("variable")
            needed = {key for key, variable in variables.items() if "default" not in variable}
            self.assertLessEqual(set(call), set(variables), name)
            self.assertLessEqual(needed, set(call), name)
            outputs = set(re.findall(rf"module\.{name}\.(\w+)", example.text))
            self.assertLessEqual(outputs, set(called.of_one_label("output")), name)

    def test_policies_and_dashboard_are_files_with_these_places(self):
        text = support.Module("service").text
        calls = re.findall(r'templatefile\("\$\{path.module\}/../../([^"]+)", \{(.*?)\}\)', text, re.S)
        given = {path: set(re.findall(r"(?m)^\s*(\w+)\s*=", body)) for path, body in calls}
        policies = given.pop("iam/${local.policy}.json")
        for name in ("serve", "serve-one-keyspace"):
            given[f"iam/{name}.json"] = policies
        for path, places in given.items():
            used = set(re.findall(r"\$\{(\w+)\}", support.read("deploy", path)))
            self.assertLessEqual(used, places, path)
        files = {f"iam/{file}" for file in os.listdir(os.path.join(support.DEPLOY, "iam"))}
        # Who creates tables needs more than a service should have, and who only reads needs less.
        beside = {"iam/administrate.json", "iam/create-table.json", "iam/read-only.json"}
        self.assertEqual(files - beside, {path for path in given if path.startswith("iam/")})


class BothSayTheSame(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.cloudformation = service()
        self.terraform = support.Module("service")

    def test_alarms(self):
        of_terraform = {}
        for name, alarm in self.terraform.locals()["alarms"].items():
            fields = ("namespace", "metric", "statistic", "operator", "threshold", "periods", "missing", "description")
            of_terraform[name] = [str(alarm[field]) for field in fields]
        of_cloudformation = {}
        for alarm in self.cloudformation.of_type("AWS::CloudWatch::Alarm").values():
            fields = (
                "Namespace",
                "MetricName",
                "Statistic",
                "ComparisonOperator",
                "Threshold",
                "EvaluationPeriods",
                "TreatMissingData",
                "AlarmDescription",
            )
            self.assertEqual(60, alarm["Period"])
            name = alarm["AlarmName"].removeprefix("etcdynamo-")
            of_cloudformation[name] = [str(alarm[field]).replace("etcdynamo-errors", "${var.name}-errors") for field in fields]
        self.assertEqual(of_terraform, of_cloudformation)

    def test_each_alarm_is_explained(self):
        text = support.read("docs", "running-on-ecs.md")
        for name in self.terraform.locals()["alarms"]:
            self.assertTrue(f"\n| `{name}` |" in text, name)

    def test_the_container(self):
        (container,) = self.cloudformation.only("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
        self.assertIs(True, container["ReadonlyRootFilesystem"])
        self.assertEqual("65532:65532", container["User"])
        self.assertEqual(["ALL"], container["LinuxParameters"]["Capabilities"]["Drop"])
        self.assertEqual(["CMD", "/usr/local/bin/etcdynamo", "healthcheck"], container["HealthCheck"]["Command"])
        text = self.terraform.text
        for line in (
            'user                   = "65532:65532"',
            "readonlyRootFilesystem = true",
            'capabilities = { drop = ["ALL"] }',
            'command     = ["CMD", "/usr/local/bin/etcdynamo", "healthcheck"]',
            f"stopTimeout = {container['StopTimeout']}",
            "enable_execute_command             = false",
        ):
            self.assertIn(line, text)
        names = {variable["Name"] for variable in container["Environment"]}
        self.assertEqual(names, set(re.findall(r"(?m)^    (ETCDYNAMO_\w+)\s+=", text)))
        ready = self.cloudformation.only("AWS::ElasticLoadBalancingV2::TargetGroup")["HealthCheckPath"]
        (check,) = self.terraform.resources["aws_lb_target_group.this"]["health_check"]
        self.assertEqual(ready, check["path"])

    def test_times_fit(self):
        """A drain ends before the kill, a watch before the balancer's cut, a connection after it."""
        (container,) = self.cloudformation.only("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
        settings = {variable["Name"]: variable["Value"] for variable in container["Environment"]}
        drain_ms = int(settings["ETCDYNAMO_SHUTDOWN_TIMEOUT_MS"])
        self.assertLess(drain_ms, container["StopTimeout"] * 1000)
        parameters = self.cloudformation.body["Parameters"]
        idle_s = parameters["IdleTimeoutSeconds"]
        self.assertLess(int(settings["ETCDYNAMO_WATCH_TIMEOUT_MS"]), idle_s["Default"] * 1000)
        (idle_limit_s,) = re.findall(r"IDLE_TIMEOUT: Duration = Duration::from_secs\((\d+)\)", support.read("src", "app", "mod.rs"))
        self.assertLess(idle_s["MaxValue"], int(idle_limit_s))
        self.assertIn(f"var.idle_timeout_seconds <= {idle_s['MaxValue']}", self.terraform.text)
        self.assertIn("tostring((var.idle_timeout_seconds - 10) * 1000)", self.terraform.text)

    def test_each_setting_is_the_servers(self):
        (container,) = self.cloudformation.only("AWS::ECS::TaskDefinition")["ContainerDefinitions"]
        self.assertLessEqual({variable["Name"] for variable in container["Environment"]}, settings_of_the_server())


class TheFunction(unittest.TestCase):
    """The template of the Lambda function, and what the program wants there."""

    def test_each_setting_is_the_servers(self):
        settings = function().only("AWS::Lambda::Function")["Environment"]["Variables"]
        self.assertLessEqual(set(settings), settings_of_the_server())
        # What it listens on and how it watches makes no sense there.
        self.assertEqual([], [name for name in settings if re.search("LISTEN|WATCH|DATA_DIR", name)])

    def test_a_request_ends_before_its_function_does(self):
        resource = function().only("AWS::Lambda::Function")
        request_ms = int(resource["Environment"]["Variables"]["ETCDYNAMO_REQUEST_TIMEOUT_MS"])
        # It catches up in front of a request, for as long as a request may take at most.
        self.assertGreater(resource["Timeout"] * 1000, 2 * (request_ms + 1000))

    def test_no_more_environments_than_writers_are_told_apart(self):
        (slots,) = re.findall(r"WRITER_SLOTS: u32 = (\d+);", support.read("src", "v2", "item.rs"))
        template = function()
        concurrency = template.body["Parameters"]["Concurrency"]
        self.assertEqual(int(slots), concurrency["MaxValue"])
        self.assertLess(concurrency["Default"], concurrency["MaxValue"])
        resource = template.only("AWS::Lambda::Function")
        self.assertEqual(str(concurrency["Default"]), resource["ReservedConcurrentExecutions"])

    def test_nobody_may_call_it_unless_that_is_said(self):
        self.assertEqual("AWS_IAM", function().only("AWS::Lambda::Url")["AuthType"])
        self.assertEqual({}, function().of_type("AWS::Lambda::Permission"))
        granted = function(AuthType="NONE").of_type("AWS::Lambda::Permission").values()
        actions = ["lambda:InvokeFunction", "lambda:InvokeFunctionUrl"]
        self.assertEqual(actions, sorted(permission["Action"] for permission in granted))


if __name__ == "__main__":
    unittest.main()
