package policytemplate_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/policytemplate"
)

func one(v string) policytemplate.Parameter { return policytemplate.Parameter{Values: []string{v}} }
func list(v ...string) policytemplate.Parameter {
	return policytemplate.Parameter{Values: v, List: true}
}

// The examples of the IAM User Guide, "Policy templates", and what is near them.
func TestRender(t *testing.T) {
	const conditional = `{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"},
		{"@Enabled": "ENABLE_S3_WRITE", "Effect": "Allow", "Action": ["s3:PutObject"], "Resource": "arn:aws:s3:::@{bucketName}/*"}]}`
	const always = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:GetObject"],"Resource":"*"}]}`
	for _, test := range []struct {
		name, template string
		parameters     policytemplate.Parameters
		want           string
	}{
		{"string", `{"Statement": {"Resource": "arn:aws:s3:::@{bucketName}/*"}}`, policytemplate.Parameters{"bucketName": one("my-bucket")},
			`{"Statement":{"Resource":"arn:aws:s3:::my-bucket/*"}}`},
		{"list", `{"Statement": {"Resource": "arn:aws:s3:::@{bucketNames}/*"}}`, policytemplate.Parameters{"bucketNames": list("bucket-1", "bucket-2")},
			`{"Statement":{"Resource":["arn:aws:s3:::bucket-1/*","arn:aws:s3:::bucket-2/*"]}}`},
		{"combinations", `{"Statement": {"Resource": "@{a}/@{b}/@{c}"}}`, policytemplate.Parameters{"a": list("1", "2"), "b": one("x"), "c": list("3", "4")},
			`{"Statement":{"Resource":["1/x/3","1/x/4","2/x/3","2/x/4"]}}`},
		{"a list among others", `{"Statement": {"Resource": ["first", "@{a}", "last"]}}`, policytemplate.Parameters{"a": list("1", "2")},
			`{"Statement":{"Resource":["first","1","2","last"]}}`},
		{"enabled", conditional, policytemplate.Parameters{"bucketName": one("my-bucket"), "ENABLE_S3_WRITE": one("True")},
			strings.TrimSuffix(always, "]}") + `,{"Effect":"Allow","Action":["s3:PutObject"],"Resource":"arn:aws:s3:::my-bucket/*"}]}`},
		{"enabled in small letters", conditional, policytemplate.Parameters{"bucketName": one("my-bucket"), "ENABLE_S3_WRITE": one("true")},
			strings.TrimSuffix(always, "]}") + `,{"Effect":"Allow","Action":["s3:PutObject"],"Resource":"arn:aws:s3:::my-bucket/*"}]}`},
		{"disabled, and its parameter not there", conditional, policytemplate.Parameters{"ENABLE_S3_WRITE": one("False")}, always},
		{"negated", `{"Statement": [{"@Enabled": "!OFF", "Effect": "Allow"}]}`, policytemplate.Parameters{"OFF": one("no")}, `{"Statement":[{"Effect":"Allow"}]}`},
		{"nothing left", `{"Statement": [{"@Enabled": "ON", "Effect": "Allow"}]}`, policytemplate.Parameters{"ON": one("False")}, ""},
		{"in a key", `{"Statement": {"Condition": {"StringEquals": {"aws:ResourceTag/@{tag}": "x"}}}}`, policytemplate.Parameters{"tag": one("team")},
			`{"Statement":{"Condition":{"StringEquals":{"aws:ResourceTag/team":"x"}}}}`},
		{"a policy variable is none of ours", `{"Statement": {"Resource": "${aws:username}"}}`, nil, `{"Statement":{"Resource":"${aws:username}"}}`},
		{"a value is not looked at again", `{"Statement": {"Resource": "@{a}"}}`, policytemplate.Parameters{"a": one("@{b}")}, `{"Statement":{"Resource":"@{b}"}}`},
	} {
		got, err := policytemplate.Render(test.template, test.parameters)
		if err != nil || got != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
}

func TestRenderRefuses(t *testing.T) {
	for _, test := range []struct {
		name, template string
		parameters     policytemplate.Parameters
		want           string
	}{
		{"not there", `{"Statement": {"Resource": "@{bucketName}"}}`, nil, "Parameter 'bucketName' not found."},
		{"condition not there", `{"Statement": [{"@Enabled": "ON"}]}`, nil, "Parameter 'ON' not found."},
		{"a list in a key", `{"Statement": {"@{a}": "x"}}`, policytemplate.Parameters{"a": list("1", "2")}, "takes no list"},
		{"two values of one", `{"Statement": {"Resource": "@{a}"}}`, policytemplate.Parameters{"a": {Values: []string{"1", "2"}}}, "exactly one value"},
		{"no condition", `{"Statement": [{"@Enabled": true}]}`, nil, "@Enabled must be"},
		{"no statement", `{"Version": "2012-10-17"}`, nil, "no Statement"},
		{"no JSON", `{`, nil, "not JSON"},
		{"two values", `{"Statement": []} {}`, nil, "more than one"},
		{"too many", `{"Statement": {"Resource": "@{a}@{a}@{a}@{a}"}}`, policytemplate.Parameters{"a": list("1", "2", "3", "4", "5", "6")}, "more than 1000"},
	} {
		got, err := policytemplate.Render(test.template, test.parameters)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %s, %v, want an error with %q", test.name, got, err, test.want)
		}
	}
	_, err := policytemplate.Render(`{"Statement": {"Resource": "@{x}"}}`, nil)
	if missing, ok := errors.AsType[policytemplate.NotFoundError](err); !ok || missing != "x" {
		t.Errorf("got %v, want a NotFoundError of x", err)
	}
}

func TestNames(t *testing.T) {
	got, err := policytemplate.Names(`{"Statement": [{"@Enabled": "!OFF", "Resource": ["@{a}/@{b}", "@{a}"], "Condition": {"StringEquals": {"aws:ResourceTag/@{c}": "x"}}}]}`)
	if want := []string{"OFF", "a", "b", "c"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// Whatever a value says, the document has the form that its template has.
func FuzzValue(f *testing.F) {
	f.Add(`x"},{"Effect":"Allow","Action":"*`)
	f.Add(`@{a}`)
	f.Add("\u2028</script>")
	f.Fuzz(func(t *testing.T, value string) {
		text, err := policytemplate.Render(`{"Statement": [{"Effect": "Deny", "Resource": "a@{a}z"}]}`, policytemplate.Parameters{"a": one(value)})
		if err != nil {
			t.Fatal(err)
		}
		var got struct{ Statement []map[string]string }
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want := "a" + strings.ToValidUTF8(value, "\ufffd") + "z"
		if len(got.Statement) != 1 || len(got.Statement[0]) != 2 || len(strings.ToValidUTF8(value, "")) == len(value) && got.Statement[0]["Resource"] != want {
			t.Errorf("the document became %s", text)
		}
	})
}
