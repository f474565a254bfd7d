# The table, as etcdynamo wants it: it verifies keys, TTL and stream at every start, and refuses any other.
# It may hold several keyspaces.

terraform {
  required_version = ">= 1.5"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

variable "name" {
  description = "The table's name."
  type        = string
  default     = "etcdynamo"
}

variable "kms_key_arn" {
  description = "A customer managed key for the encryption at rest; null: AWS's own key, which costs nothing."
  type        = string
  default     = null
}

variable "recovery_period_in_days" {
  description = "How far back the table can be restored, 1 to 35 days."
  type        = number
  default     = 35
}

variable "deletion_protection" {
  description = "Whether AWS refuses to delete the table until this is switched off."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of the table."
  type        = map(string)
  default     = {}
}

resource "aws_dynamodb_table" "tree" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  stream_enabled              = true
  stream_view_type            = "NEW_AND_OLD_IMAGES"
  deletion_protection_enabled = var.deletion_protection
  tags                        = var.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  ttl {
    attribute_name = "t"
    enabled        = true
  }

  point_in_time_recovery {
    enabled                 = true
    recovery_period_in_days = var.recovery_period_in_days
  }

  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }

  lifecycle {
    prevent_destroy = true
  }
}

output "name" {
  description = "The table's name, for --table."
  value       = aws_dynamodb_table.tree.name
}

output "arn" {
  description = "The table's ARN, for the policies."
  value       = aws_dynamodb_table.tree.arn
}
