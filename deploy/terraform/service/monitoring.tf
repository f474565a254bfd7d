# The log, the alarms and the dashboard. docs/running-on-ecs.md says what each alarm means.

resource "aws_cloudwatch_log_group" "this" {
  name              = "/ecs/${var.name}"
  retention_in_days = var.log_retention_days
  tags              = var.tags
}

resource "aws_cloudwatch_log_metric_filter" "errors" {
  name           = "${var.name}-errors"
  log_group_name = aws_cloudwatch_log_group.this.name
  pattern        = "{ $.level = \"ERROR\" }"

  metric_transformation {
    name          = "${var.name}-errors"
    namespace     = "etcdynamo"
    value         = "1"
    default_value = "0"
  }
}

locals {
  of_balancer = { LoadBalancer = aws_lb.this.arn_suffix }
  of_target   = merge(local.of_balancer, { TargetGroup = aws_lb_target_group.this.arn_suffix })
  of_table    = { TableName = var.table_name }
  of_service  = { ClusterName = local.cluster_name, ServiceName = aws_ecs_service.this.name }

  alarms = {
    no-gateway = {
      description = "No task is ready: clients get 503 of the load balancer, or nothing."
      namespace   = "AWS/ApplicationELB"
      metric      = "HealthyHostCount"
      dimensions  = local.of_target
      statistic   = "Minimum"
      operator    = "LessThanThreshold"
      threshold   = 1
      periods     = 2
      missing     = "breaching"
    }
    gateway-not-ready = {
      description = "A task is not ready for five minutes: it restarts again and again, or does not reach DynamoDB."
      namespace   = "AWS/ApplicationELB"
      metric      = "UnHealthyHostCount"
      dimensions  = local.of_target
      statistic   = "Minimum"
      operator    = "GreaterThanThreshold"
      threshold   = 0
      periods     = 5
      missing     = "notBreaching"
    }
    server-errors = {
      description = "Requests fail: DynamoDB does not answer, refuses, or is too slow."
      namespace   = "AWS/ApplicationELB"
      metric      = "HTTPCode_Target_5XX_Count"
      dimensions  = local.of_target
      statistic   = "Sum"
      operator    = "GreaterThanThreshold"
      threshold   = 10
      periods     = 3
      missing     = "notBreaching"
    }
    reads-throttled = {
      description = "DynamoDB turns reads away: a hot partition, a table's or an account's limit."
      namespace   = "AWS/DynamoDB"
      metric      = "ReadThrottleEvents"
      dimensions  = local.of_table
      statistic   = "Sum"
      operator    = "GreaterThanThreshold"
      threshold   = 0
      periods     = 3
      missing     = "notBreaching"
    }
    writes-throttled = {
      description = "DynamoDB turns writes away: a hot partition, a table's or an account's limit."
      namespace   = "AWS/DynamoDB"
      metric      = "WriteThrottleEvents"
      dimensions  = local.of_table
      statistic   = "Sum"
      operator    = "GreaterThanThreshold"
      threshold   = 0
      periods     = 3
      missing     = "notBreaching"
    }
    errors-logged = {
      description = "A gateway logged an error."
      namespace   = "etcdynamo"
      metric      = "${var.name}-errors"
      dimensions  = {}
      statistic   = "Sum"
      operator    = "GreaterThanThreshold"
      threshold   = 0
      periods     = 1
      missing     = "notBreaching"
    }
    cpu-high = {
      description = "The tasks have hardly any CPU left: answers become slow, and watchers late."
      namespace   = "AWS/ECS"
      metric      = "CPUUtilization"
      dimensions  = local.of_service
      statistic   = "Average"
      operator    = "GreaterThanThreshold"
      threshold   = 85
      periods     = 10
      missing     = "notBreaching"
    }
    memory-high = {
      description = "A task is near its memory limit, at which it is killed: too many watchers or too large listings."
      namespace   = "AWS/ECS"
      metric      = "MemoryUtilization"
      dimensions  = local.of_service
      statistic   = "Maximum"
      operator    = "GreaterThanThreshold"
      threshold   = 85
      periods     = 5
      missing     = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = templatefile("${path.module}/../../cloudwatch-dashboard.json", {
    region       = data.aws_region.this.region
    table        = var.table_name
    cluster      = local.cluster_name
    service      = aws_ecs_service.this.name
    balancer     = aws_lb.this.arn_suffix
    target_group = aws_lb_target_group.this.arn_suffix
  })
}
