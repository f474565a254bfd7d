# A table and a service on it, in a VPC and a cluster that are there already.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

variable "image" {
  description = "The image of etcdynamo in the ECR repository."
  type        = string
}

variable "repository_arn" {
  description = "The ARN of that repository."
  type        = string
}

variable "cluster_arn" {
  description = "The ARN of the ECS cluster."
  type        = string
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "private_subnet_ids" {
  description = "Private subnets of it, in two availability zones."
  type        = list(string)
}

variable "client_cidr_blocks" {
  description = "Where clients may come from."
  type        = list(string)
}

module "table" {
  source = "../table"
}

module "service" {
  source              = "../service"
  image               = var.image
  repository_arn      = var.repository_arn
  table_name          = module.table.name
  table_arn           = module.table.arn
  cluster_arn         = var.cluster_arn
  vpc_id              = var.vpc_id
  service_subnet_ids  = var.private_subnet_ids
  balancer_subnet_ids = var.private_subnet_ids
  client_cidr_blocks  = var.client_cidr_blocks
}

output "url" {
  description = "What clients connect to."
  value       = module.service.url
}
