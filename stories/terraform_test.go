//go:build stories

package stories

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The life of examples/terraform: apply, change, import, destroy, each followed by a
// plan that has nothing to do. Everything that the provider asks for is really asked.
func TestTerraform(t *testing.T) {
	t.Parallel()
	s := serve(t, "--account", accountA, "--account", accountB)
	root := s.root(accountA)
	tf := initialised(t, root)
	before := leftovers(root)

	tf.apply("")

	// Who may only read may plan, which finds nothing to do, and no more than that.
	auditor := root.user("terraform-auditor", "")
	root.aws("iam", "attach-user-policy", "--user-name", "terraform-auditor", "--policy-arn", "arn:aws:iam::aws:policy/ReadOnlyAccess")
	if out := tf.plan(auditor, ""); out != "" {
		t.Errorf("after apply, a plan would change\n%s", out)
	}
	stateBefore := tf.state()
	out, errs, err := tf.run(auditor, "apply", "-auto-approve", "-var=stage=production")
	if words := "User: arn:aws:iam::" + accountA + ":user/terraform-auditor is not authorized to perform: iam:"; err == nil || !strings.Contains(errs, words) {
		t.Errorf("with ReadOnlyAccess, apply is not refused with %q: %v\n%s%s", words, err, out, errs)
	}
	tf.write("terraform.tfstate", stateBefore)

	tf.apply("production")
	if out := tf.plan(root, "production"); out != "" {
		t.Errorf("after a change, a plan would change\n%s", out)
	}

	// Everything that can be imported is forgotten and found again.
	blocks := tf.forget()
	tf.write("import.tf", blocks)
	out = tf.apply("production")
	if n := strings.Count(string(blocks), "import {"); !strings.Contains(out, fmt.Sprintf("Apply complete! Resources: %d imported, 0 added, ", n)) || !strings.Contains(out, ", 0 destroyed.") {
		t.Errorf("importing %d resources says\n%s", n, out)
	}
	if err := os.Remove(filepath.Join(tf.dir, "import.tf")); err != nil {
		t.Fatal(err)
	}
	if out := tf.plan(root, "production"); out != "" {
		t.Errorf("after the import, a plan would change\n%s", out)
	}

	root.aws("iam", "detach-user-policy", "--user-name", "terraform-auditor", "--policy-arn", "arn:aws:iam::aws:policy/ReadOnlyAccess")
	var keys struct {
		AccessKeyMetadata []struct{ AccessKeyId string }
	}
	if err := json.Unmarshal([]byte(root.aws("iam", "list-access-keys", "--user-name", "terraform-auditor")), &keys); err != nil {
		t.Fatal(err)
	}
	root.aws("iam", "delete-access-key", "--user-name", "terraform-auditor", "--access-key-id", keys.AccessKeyMetadata[0].AccessKeyId)
	root.aws("iam", "delete-user", "--user-name", "terraform-auditor")
	if out, errs, err := tf.run(root, "destroy", "-auto-approve", "-var=stage=production"); err != nil {
		t.Fatalf("terraform destroy: %v\n%s%s", err, out, errs)
	}
	if after := leftovers(root); after != before {
		t.Errorf("after destroy there is\n%s\nand before there was\n%s", after, before)
	}
}

// A terraform is the module of examples/terraform in a directory of its own.
type terraform struct {
	t    *testing.T
	root *person
	dir  string
}

// initialised is the module after terraform init. Where there is no Terraform, or no
// AWS provider for it and no registry to fetch one from, the test is skipped.
func initialised(t *testing.T, root *person) *terraform {
	t.Helper()
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("there is no terraform command: examples/terraform was not applied")
	}
	tf := &terraform{t, root, t.TempDir()}
	const example = "../examples/terraform"
	if err := os.CopyFS(filepath.Join(tf.dir, "files"), os.DirFS(filepath.Join(example, "files"))); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Glob(filepath.Join(example, "*.tf")) // and not the state of somebody who has tried it
	if err != nil || len(modules) == 0 {
		t.Fatalf("%s: %q, %v", example, modules, err)
	}
	for _, f := range modules {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tf.write(filepath.Base(f), text)
	}
	args := []string{"init"}
	mirror := providerMirror()
	if mirror != "" {
		args = append(args, "-plugin-dir="+mirror)
	}
	if out, errs, err := tf.run(root, args...); err != nil {
		if mirror == "" {
			t.Skipf("terraform init finds no AWS provider; put a mirror's directory into IAMD_TERRAFORM_PROVIDERS: examples/terraform was not applied: %v", firstLine(errs))
		}
		t.Fatalf("terraform init with the providers in %s: %v\n%s%s", mirror, err, out, errs)
	}
	return tf
}

// providerMirror is a directory with the AWS provider, "" if there is none. Without
// one terraform init asks the registry.
func providerMirror() string {
	for _, dir := range []string{os.Getenv("IAMD_TERRAFORM_PROVIDERS"), os.Getenv("TF_PLUGIN_CACHE_DIR"), "/usr/local/share/terraform/plugins", "/opt/tf-plugins"} {
		if dir == "" {
			continue
		}
		found, err := filepath.Glob(filepath.Join(dir, "registry.terraform.io/hashicorp/aws/5.10*", runtime.GOOS+"_"+runtime.GOARCH))
		if err == nil && len(found) > 0 {
			return dir
		}
	}
	return ""
}

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.Trim(line, "│╷╵ \n"); line != "" {
			return line
		}
	}
	return ""
}

func (tf *terraform) write(name string, text []byte) {
	tf.t.Helper()
	if err := os.WriteFile(filepath.Join(tf.dir, name), text, 0o600); err != nil {
		tf.t.Fatal(err)
	}
}

func (tf *terraform) state() []byte {
	tf.t.Helper()
	state, err := os.ReadFile(filepath.Join(tf.dir, "terraform.tfstate"))
	if err != nil {
		tf.t.Fatal(err)
	}
	return state
}

// run runs terraform in the directory with somebody's credentials.
func (tf *terraform) run(who *person, args ...string) (stdout, stderr string, err error) {
	p := who.with("CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_CLI_CONFIG_FILE=/dev/null")
	p.dir = tf.dir
	return p.tryFor(5*patience, "terraform", append(args, "-no-color")...)
}

// apply applies the module for a stage, which must succeed.
func (tf *terraform) apply(stage string) string {
	tf.t.Helper()
	args := []string{"apply", "-auto-approve"}
	if stage != "" {
		args = append(args, "-var=stage="+stage)
	}
	out, errs, err := tf.run(tf.root, args...)
	if err != nil {
		tf.t.Fatalf("terraform %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	return out
}

var planned = regexp.MustCompile(`(?s)Terraform will perform the following actions:.*|Changes to Outputs:.*`)

// plan is what applying the module for a stage would do, "" for nothing.
func (tf *terraform) plan(who *person, stage string) string {
	tf.t.Helper()
	args := []string{"plan", "-detailed-exitcode", "-lock=false"}
	if stage != "" {
		args = append(args, "-var=stage="+stage)
	}
	out, errs, err := tf.run(who, args...)
	switch {
	case err == nil:
		return ""
	case planned.MatchString(out) && errs == "":
		return planned.FindString(out)
	}
	tf.t.Fatalf("terraform %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	return ""
}

// importIDs say by which id resources of a type are imported: names of attributes
// within the text. One with "" cannot be imported.
var importIDs = map[string]string{
	"aws_iam_access_key":                         "{id}",
	"aws_iam_account_alias":                      "{account_alias}",
	"aws_iam_account_password_policy":            "iam-account-password-policy",
	"aws_iam_group":                              "{name}",
	"aws_iam_group_membership":                   "",
	"aws_iam_group_policies_exclusive":           "{group_name}",
	"aws_iam_group_policy":                       "{group}:{name}",
	"aws_iam_group_policy_attachment":            "{group}/{policy_arn}",
	"aws_iam_group_policy_attachments_exclusive": "{group_name}",
	"aws_iam_instance_profile":                   "{name}",
	"aws_iam_openid_connect_provider":            "{arn}",
	"aws_iam_organizations_features":             "{id}",
	"aws_iam_policy":                             "{arn}",
	"aws_iam_policy_attachment":                  "",
	"aws_iam_role":                               "{name}",
	"aws_iam_role_policies_exclusive":            "{role_name}",
	"aws_iam_role_policy":                        "{role}:{name}",
	"aws_iam_role_policy_attachment":             "{role}/{policy_arn}",
	"aws_iam_role_policy_attachments_exclusive":  "{role_name}",
	"aws_iam_saml_provider":                      "{arn}",
	"aws_iam_server_certificate":                 "", // the private key would be another: it cannot be read
	"aws_iam_service_linked_role":                "{arn}",
	"aws_iam_service_specific_credential":        "{service_name}:{user_name}:{service_specific_credential_id}",
	"aws_iam_signing_certificate":                "{certificate_id}:{user_name}",
	"aws_iam_user":                               "{name}",
	"aws_iam_user_group_membership":              "{user}/{groups}",
	"aws_iam_user_login_profile":                 "{user}",
	"aws_iam_user_policies_exclusive":            "{user_name}",
	"aws_iam_user_policy":                        "{user}:{name}",
	"aws_iam_user_policy_attachment":             "{user}/{policy_arn}",
	"aws_iam_user_policy_attachments_exclusive":  "{user_name}",
	"aws_iam_user_ssh_key":                       "{username}:{ssh_public_key_id}:{encoding}",
	"aws_iam_virtual_mfa_device":                 "{arn}",
	"aws_organizations_account":                  "{id}",
	"aws_organizations_delegated_administrator":  "{id}",
	"aws_organizations_organization":             "{id}",
	"aws_organizations_organizational_unit":      "{id}",
	"aws_organizations_policy":                   "{id}",
	"aws_organizations_policy_attachment":        "{target_id}:{policy_id}",
	"aws_organizations_resource_policy":          "{id}",
	"aws_s3_bucket":                              "{bucket}",
	"aws_s3_bucket_ownership_controls":           "{bucket}",
	"aws_s3_bucket_policy":                       "{bucket}",
	"aws_s3_bucket_public_access_block":          "{bucket}",
	"aws_s3_bucket_versioning":                   "{bucket}",
	"aws_s3_object":                              "{bucket}/{key}",
	"aws_s3_object_copy":                         "",
}

var attribute = regexp.MustCompile(`\{(\w+)\}`)

// forget takes all that can be imported out of the state, and returns the blocks
// that import it again.
func (tf *terraform) forget() []byte {
	tf.t.Helper()
	var state map[string]any
	if err := json.Unmarshal(tf.state(), &state); err != nil {
		tf.t.Fatal(err)
	}
	var blocks strings.Builder
	state["resources"] = slices.DeleteFunc(state["resources"].([]any), func(r any) bool {
		resource := r.(map[string]any)
		if resource["mode"] != "managed" {
			return false
		}
		id, known := importIDs[resource["type"].(string)]
		if !known {
			tf.t.Errorf("importIDs has no %s", resource["type"])
		}
		if id == "" {
			return false
		}
		for _, i := range resource["instances"].([]any) {
			instance := i.(map[string]any)
			attributes := instance["attributes"].(map[string]any)
			address := resource["type"].(string) + "." + resource["name"].(string)
			if key, ok := instance["index_key"]; ok {
				address += fmt.Sprintf("[%q]", key)
			}
			fmt.Fprintf(&blocks, "import {\n  to = %s\n  id = %q\n}\n", address, attribute.ReplaceAllStringFunc(id, func(name string) string {
				switch v := attributes[strings.Trim(name, "{}")].(type) {
				case string:
					return v
				case []any:
					var parts []string
					for _, part := range v {
						parts = append(parts, part.(string))
					}
					return strings.Join(parts, "/")
				default:
					tf.t.Fatalf("%s has no %s", address, name)
					return ""
				}
			}))
		}
		return true
	})
	text, err := json.Marshal(state)
	if err != nil {
		tf.t.Fatal(err)
	}
	tf.write("terraform.tfstate", text)
	return []byte(blocks.String())
}

// leftovers is what an account has.
func leftovers(root *person) string {
	root.t.Helper()
	_, organization, _ := root.try("aws", "organizations", "describe-organization") // that there is none
	return root.aws("iam", "get-account-summary") + root.aws("s3api", "list-buckets", "--query", "Buckets") + organization
}
