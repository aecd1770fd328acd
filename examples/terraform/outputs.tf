output "account" {
  value = local.account
}

output "people" {
  value = sort(data.aws_iam_users.people.names)
}

output "readers" {
  value = sort([for u in data.aws_iam_group.readers.users : u.user_name])
}

output "report" {
  value = data.aws_s3_object.q3.body
}

output "bucket_owner" {
  value = data.aws_canonical_user_id.current.id
}
