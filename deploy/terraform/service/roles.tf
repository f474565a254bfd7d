# The two roles: what the program may do, and what ECS may do to start it. The policies are those of deploy/iam, which
# the tests hold every call of a gateway to.

locals {
  log_group_arn = aws_cloudwatch_log_group.this.arn
  policy        = var.only_this_keyspace ? "serve-one-keyspace" : "serve"
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.this.partition}:ecs:${data.aws_region.this.region}:${data.aws_caller_identity.this.account_id}:*"]
    }
  }
}

resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-task-"
  description        = "etcdynamo, to its table"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "task" {
  name = "table"
  role = aws_iam_role.task.id
  policy = templatefile("${path.module}/../../iam/${local.policy}.json", {
    table_arn = var.table_arn
    keyspace  = var.keyspace
  })
}

resource "aws_iam_role_policy" "key" {
  count = var.kms_key_arn == null ? 0 : 1
  name  = "key"
  role  = aws_iam_role.task.id
  policy = templatefile("${path.module}/../../iam/kms.json", {
    key_arn = var.kms_key_arn
    region  = data.aws_region.this.region
  })
}

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-exec-"
  description        = "ECS, to start etcdynamo"
  assume_role_policy = data.aws_iam_policy_document.assume.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name = "log"
  role = aws_iam_role.execution.id
  policy = templatefile("${path.module}/../../iam/execution-log.json", {
    log_group_arn = local.log_group_arn
  })
}

resource "aws_iam_role_policy" "pull" {
  count = var.repository_arn == null ? 0 : 1
  name  = "pull"
  role  = aws_iam_role.execution.id
  policy = templatefile("${path.module}/../../iam/execution-pull.json", {
    repository_arn = var.repository_arn
  })
}
