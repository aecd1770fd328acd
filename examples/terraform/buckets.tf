# A bucket, and who may come to it.

resource "aws_s3_bucket" "reports" {
  bucket        = "reports-${local.account}"
  force_destroy = true
  tags          = { stage = var.stage }
}

resource "aws_s3_bucket_ownership_controls" "reports" {
  bucket = aws_s3_bucket.reports.id
  rule {
    object_ownership = local.production ? "BucketOwnerEnforced" : "BucketOwnerPreferred"
  }
}

resource "aws_s3_bucket_public_access_block" "reports" {
  bucket                  = aws_s3_bucket.reports.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = local.production
}

resource "aws_s3_bucket_versioning" "reports" {
  bucket = aws_s3_bucket.reports.id
  versioning_configuration {
    status = local.production ? "Suspended" : "Enabled"
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "Audit${title(var.stage)}"
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [aws_s3_bucket.reports.arn, "${aws_s3_bucket.reports.arn}/*"]
    principals {
      type        = "AWS"
      identifiers = [aws_iam_role.auditor.arn]
    }
  }
}

resource "aws_s3_bucket_policy" "reports" {
  bucket     = aws_s3_bucket.reports.id
  policy     = data.aws_iam_policy_document.bucket.json
  depends_on = [aws_s3_bucket_public_access_block.reports]
}

resource "aws_s3_object" "q3" {
  bucket       = aws_s3_bucket.reports.id
  key          = "${var.stage}/q3.txt"
  content      = "All is well in ${var.stage}."
  content_type = "text/plain"
  tags         = { quarter = "3" }
  depends_on   = [aws_s3_bucket_versioning.reports]
}

resource "aws_s3_object" "index" {
  bucket       = aws_s3_bucket.reports.id
  key          = "index.txt"
  content      = "The latest: ${aws_s3_object.q3.key}"
  content_type = "text/plain"
  metadata     = { stage = var.stage }
}

resource "aws_s3_object_copy" "q3" {
  bucket            = aws_s3_bucket.reports.id
  key               = "copies/q3.txt"
  tagging_directive = "REPLACE"
  tags              = { stage = var.stage }
  source            = "${aws_s3_bucket.reports.id}/${aws_s3_object.q3.key}"
}

data "aws_s3_bucket" "reports" {
  bucket = aws_s3_bucket.reports.id
}

data "aws_s3_bucket_policy" "reports" {
  bucket = aws_s3_bucket_policy.reports.bucket
}

data "aws_s3_object" "q3" {
  bucket = aws_s3_object.q3.bucket
  key    = aws_s3_object.q3.key
}

data "aws_s3_objects" "reports" {
  bucket     = aws_s3_bucket.reports.id
  prefix     = "${var.stage}/"
  depends_on = [aws_s3_object.q3]
}
