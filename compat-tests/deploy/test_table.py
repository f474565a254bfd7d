"""The tables of the templates are tables that etcdynamo takes, by its own word.

Each is made on an engine as the template says, and the server is started on it without --create-table: it verifies
keys, TTL and stream, and refuses what it does not want. Not shown: what engines do not know (point-in-time recovery,
protection, encryption); there the template is read.
"""

import json
import tempfile
import unittest
import urllib.request

import support
import targets

AUTHORIZATION = (
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
)


def call(endpoint, operation, body):
    """One call to an engine."""
    headers = {
        "X-Amz-Target": f"DynamoDB_20120810.{operation}",
        "X-Amz-Date": "20260101T000000Z",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": AUTHORIZATION,
    }
    request = urllib.request.Request(endpoint, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=targets.START_TIMEOUT_S) as answer:
        return json.load(answer)


def of_cloudformation():
    """The calls that make the table of the CloudFormation template."""
    table = support.Template("table.yaml", Name="of-cloudformation").only("AWS::DynamoDB::Table")
    create = {key: table[key] for key in ("TableName", "BillingMode", "AttributeDefinitions", "KeySchema")}
    create["StreamSpecification"] = {"StreamEnabled": True, **table["StreamSpecification"]}
    return create, table["TimeToLiveSpecification"]


def of_terraform():
    """The calls that make the table of the Terraform module."""
    table = support.Module("table").resources["aws_dynamodb_table.tree"]
    keys = [("HASH", table["hash_key"]), ("RANGE", table["range_key"])]
    create = {
        "TableName": "of-terraform",
        "BillingMode": table["billing_mode"],
        "AttributeDefinitions": [
            {"AttributeName": attribute["name"], "AttributeType": attribute["type"]} for attribute in table["attribute"]
        ],
        "KeySchema": [{"AttributeName": name, "KeyType": kind} for kind, name in keys],
        "StreamSpecification": {
            "StreamEnabled": table["stream_enabled"],
            "StreamViewType": table["stream_view_type"],
        },
    }
    (ttl,) = table["ttl"]
    return create, {"AttributeName": ttl["attribute_name"], "Enabled": ttl["enabled"]}


class OnAnEngine(unittest.TestCase):
    """Two tables on one engine, and a server that is asked about each."""

    @classmethod
    def setUpClass(cls):
        directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="etcdynamo-deploy-"))
        cls.directory = directory
        engine, cls.endpoint = targets.start_engine("dynoxide", directory)
        cls.addClassCleanup(engine.stop, expected_code=None)

    def make(self, create, ttl):
        call(self.endpoint, "CreateTable", create)
        call(self.endpoint, "UpdateTimeToLive", {"TableName": create["TableName"], "TimeToLiveSpecification": ttl})
        return create["TableName"]

    def start(self, table):
        flags = ("--table", table, "--region", "us-east-1", "--endpoint-url", self.endpoint)
        return targets.etcdynamo(self.directory, *flags, env=targets.AWS_ENV)

    def test_the_server_takes_the_tables(self):
        for made in (of_cloudformation, of_terraform):
            with self.subTest(made.__name__):
                server, _ = self.start(self.make(*made()))
                server.stop(expected_code=0)

    def test_the_server_would_not_take_others(self):
        create, ttl = of_terraform()
        keys_only = {**create, "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "KEYS_ONLY"}}
        for number, (create, ttl, complaint) in enumerate(
            [
                (create, {**ttl, "AttributeName": "ttl"}, "its TTL attribute"),
                (keys_only, ttl, "its stream"),
            ]
        ):
            with self.subTest(complaint):
                table = self.make({**create, "TableName": f"of-nobody-{number}"}, ttl)
                with self.assertRaisesRegex(targets.StartFailed, complaint):
                    self.start(table)


class AsItIsWritten(unittest.TestCase):
    """What no engine knows."""

    def test_cloudformation(self):
        resource = support.Template("table.yaml").resources["Table"]
        self.assertEqual("Retain", resource["DeletionPolicy"])
        self.assertEqual("Retain", resource["UpdateReplacePolicy"])
        table = resource["Properties"]
        self.assertIs(True, table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"])
        self.assertEqual("true", table["DeletionProtectionEnabled"])
        self.assertNotIn("SSESpecification", table)
        encrypted = support.Template("table.yaml", KeyArn="arn:key").only("AWS::DynamoDB::Table")
        self.assertEqual(
            {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": "arn:key"}, encrypted["SSESpecification"]
        )

    def test_terraform(self):
        module = support.Module("table")
        table = module.resources["aws_dynamodb_table.tree"]
        self.assertEqual([{"prevent_destroy": True}], table["lifecycle"])
        self.assertIs(True, table["point_in_time_recovery"][0]["enabled"])
        self.assertEqual("${var.deletion_protection}", table["deletion_protection_enabled"])
        self.assertIs(True, module.of_one_label("variable")["deletion_protection"]["default"])
        (dynamic,) = table["dynamic"]
        self.assertIn("kms_key_arn", dynamic["server_side_encryption"]["content"][0])


if __name__ == "__main__":
    unittest.main()
