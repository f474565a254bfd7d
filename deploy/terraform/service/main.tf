# etcdynamo on ECS Fargate behind an application load balancer: the service. The balancer is in balancer.tf, the
# roles are in roles.tf, what watches over it is in monitoring.tf.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

data "aws_region" "this" {}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

locals {
  port         = 2379
  scheme       = var.certificate_arn == null ? "http" : "https"
  url          = coalesce(var.advertised_url, "${local.scheme}://${aws_lb.this.dns_name}:${local.port}")
  cluster_name = reverse(split("/", var.cluster_arn))[0]

  # Plain http, as the security groups let in the balancer and client_cidr_blocks alone; TLS ends at the balancer.
  settings = merge({
    ETCDYNAMO_TABLE                 = var.table_name
    ETCDYNAMO_KEYSPACE              = var.keyspace
    ETCDYNAMO_REGION                = data.aws_region.this.region
    ETCDYNAMO_LISTEN_CLIENT_URLS    = "http://0.0.0.0:${local.port}"
    ETCDYNAMO_ALLOW_INSECURE_LISTEN = "true"
    ETCDYNAMO_ADVERTISE_CLIENT_URLS = local.url
    ETCDYNAMO_NAME                  = var.name
    ETCDYNAMO_LOG_FORMAT            = "json"
    ETCDYNAMO_SHUTDOWN_TIMEOUT_MS   = "20000"
    ETCDYNAMO_WATCH_TIMEOUT_MS      = tostring((var.idle_timeout_seconds - 10) * 1000)
  }, var.flags)
}

resource "aws_ecs_task_definition" "this" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([{
    name                   = "etcdynamo"
    image                  = var.image
    essential              = true
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    environment            = [for name, value in local.settings : { name = name, value = value }]
    portMappings           = [{ containerPort = local.port, protocol = "tcp" }]
    # More than --shutdown-timeout-ms, or what drains is killed.
    stopTimeout = 30

    # Whether the program lives, not whether DynamoDB does: no task is better for being replaced then.
    healthCheck = {
      command     = ["CMD", "/usr/local/bin/etcdynamo", "healthcheck"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }

    # More than --max-connections.
    ulimits = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]

    linuxParameters = {
      capabilities = { drop = ["ALL"] }
    }

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.this.region
        awslogs-stream-prefix = "gateway"
        # A log that cannot be delivered must not stop the server.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }])
}

resource "aws_ecs_service" "this" {
  name                               = var.name
  cluster                            = var.cluster_arn
  task_definition                    = aws_ecs_task_definition.this.arn
  launch_type                        = "FARGATE"
  desired_count                      = var.min_tasks
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60
  enable_execute_command             = false
  availability_zone_rebalancing      = "ENABLED"
  propagate_tags                     = "SERVICE"
  tags                               = var.tags

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.service_subnet_ids
    security_groups  = [aws_security_group.service.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "etcdynamo"
    container_port   = local.port
  }

  # The number is the scaling's matter after the first time.
  lifecycle {
    ignore_changes = [desired_count]
  }

  # A target group that no listener has is refused; a task that starts without its policy fails.
  depends_on = [aws_lb_listener.this, aws_iam_role_policy.task, aws_iam_role_policy.execution]
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${local.cluster_name}/${aws_ecs_service.this.name}"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
  tags               = var.tags
}

resource "aws_appautoscaling_policy" "cpu" {
  count              = var.max_tasks > var.min_tasks ? 1 : 0
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.target_cpu_percent
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}

output "url" {
  description = "What clients connect to."
  value       = local.url
}

output "balancer_dns_name" {
  description = "The name of the load balancer, for a DNS alias."
  value       = aws_lb.this.dns_name
}

output "balancer_zone_id" {
  description = "The hosted zone of the load balancer, for a DNS alias."
  value       = aws_lb.this.zone_id
}

output "task_role_arn" {
  description = "The role by which the tasks reach the table."
  value       = aws_iam_role.task.arn
}
