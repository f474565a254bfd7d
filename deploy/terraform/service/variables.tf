variable "name" {
  description = "The name of the service and of all that belongs to it; at most 24 letters, digits and hyphens."
  type        = string
  default     = "etcdynamo"

  validation {
    condition     = can(regex("^[a-zA-Z][a-zA-Z0-9-]{0,23}$", var.name))
    error_message = "It must be 1 to 24 letters, digits and hyphens, and begin with a letter."
  }
}

variable "image" {
  description = "The image, best by its digest: REPOSITORY@sha256:..."
  type        = string
}

variable "repository_arn" {
  description = "The ARN of the ECR repository that the image is pulled from; null: it comes from a public one."
  type        = string
  default     = null
}

variable "table_name" {
  description = "The table."
  type        = string
}

variable "table_arn" {
  description = "The ARN of the table."
  type        = string
}

variable "kms_key_arn" {
  description = "The customer managed key of the table, where it has one."
  type        = string
  default     = null
}

variable "keyspace" {
  description = "The tree's name in the table."
  type        = string
  default     = "default"
}

variable "only_this_keyspace" {
  description = "Whether the service may touch no other keyspace of the table (its stream shows all of them)."
  type        = bool
  default     = false
}

variable "flags" {
  description = "More settings by their variables: { ETCDYNAMO_READ_CONSISTENCY = \"eventual\" }."
  type        = map(string)
  default     = {}
}

variable "cluster_arn" {
  description = "The ARN of the ECS cluster."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "service_subnet_ids" {
  description = "Private subnets of the tasks, in at least two availability zones, with a way to DynamoDB, ECR and CloudWatch Logs."
  type        = list(string)

  validation {
    condition     = length(var.service_subnet_ids) > 1
    error_message = "There must be at least two."
  }
}

variable "balancer_subnet_ids" {
  description = "Subnets of the load balancer, in at least two availability zones."
  type        = list(string)

  validation {
    condition     = length(var.balancer_subnet_ids) > 1
    error_message = "There must be at least two."
  }
}

variable "client_cidr_blocks" {
  description = "Where clients may come from."
  type        = list(string)
}

variable "internal" {
  description = "Whether the load balancer has private addresses only."
  type        = bool
  default     = true
}

variable "certificate_arn" {
  description = "An ACM certificate, for TLS at the load balancer; null: plain HTTP."
  type        = string
  default     = null
}

variable "advertised_url" {
  description = "What clients are told to connect to; null: the load balancer's own name."
  type        = string
  default     = null
}

variable "idle_timeout_seconds" {
  description = "When the load balancer cuts a silent connection. Watches end ten seconds before it."
  type        = number
  default     = 60

  validation {
    # The server closes a connection that is idle for 120 s; the balancer has to be the first to.
    condition     = var.idle_timeout_seconds >= 20 && var.idle_timeout_seconds <= 110
    error_message = "It must be 20 to 110 seconds."
  }
}

variable "cpu" {
  description = "CPU units of a task: 256 is a quarter of a core."
  type        = number
  default     = 512
}

variable "memory" {
  description = "MiB of a task. Listings share 512 MiB and request bodies 128 MiB at most."
  type        = number
  default     = 1024
}

variable "cpu_architecture" {
  description = "X86_64 or ARM64; the image has to be built for it."
  type        = string
  default     = "ARM64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.cpu_architecture)
    error_message = "It must be X86_64 or ARM64."
  }
}

variable "min_tasks" {
  description = "The least number of tasks. Two outlive the loss of an availability zone."
  type        = number
  default     = 2
}

variable "max_tasks" {
  description = "The largest number of tasks; the same as min_tasks: their number is fixed."
  type        = number
  default     = 2
}

variable "target_cpu_percent" {
  description = "Tasks are added and taken away to keep the CPU at this."
  type        = number
  default     = 60
}

variable "log_retention_days" {
  description = "How long the log is kept."
  type        = number
  default     = 30
}

variable "alarm_topic_arns" {
  description = "SNS topics that are told of alarms."
  type        = list(string)
  default     = []
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the load balancer until this is switched off."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
}
