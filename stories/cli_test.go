//go:build stories

package stories

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
)

// A cli is an aws command of this machine.
type cli struct {
	major int
	dir   string // where it is called aws, to be put first in PATH
	// knowsEndpoint says that it takes AWS_ENDPOINT_URL from the environment. One that
	// does not is wrapped so that every call has an --endpoint-url; where it calls STS
	// by itself, for the role of a profile, it is led by rules: see endpointRules.
	knowsEndpoint bool
}

// clis are the aws commands that were found, one a major version. The first is the
// one that a person would get who types aws.
var clis []*cli

func (c *cli) path() string {
	return c.dir + string(filepath.ListSeparator) + os.Getenv("PATH")
}

var cliVersion = regexp.MustCompile(`^aws-cli/(\d+)\.(\d+)\.`)

// findCLIs looks for aws commands in the folders of PATH, and makes a wrapper below
// dir for each major version.
func findCLIs(dir string) error {
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(folder, "aws"))
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "--version").CombinedOutput() // early ones print it as an error
		m := cliVersion.FindStringSubmatch(string(out))
		if err != nil || m == nil {
			return fmt.Errorf("%s --version says %q: %v", path, out, err)
		}
		major, _ := strconv.Atoi(m[1])
		minor, _ := strconv.Atoi(m[2])
		c := &cli{
			major:         major,
			dir:           filepath.Join(dir, "aws-"+m[1]),
			knowsEndpoint: major > 2 || major == 2 && minor >= 13 || major == 1 && minor >= 29,
		}
		if err := os.Mkdir(c.dir, 0o755); errors.Is(err, os.ErrExist) {
			continue // an earlier folder has this version
		} else if err != nil {
			return err
		}
		endpoint := ""
		if !c.knowsEndpoint {
			endpoint = `${AWS_ENDPOINT_URL:+--endpoint-url "$AWS_ENDPOINT_URL"} `
		}
		wrapper := "#!/bin/sh\nexec '" + path + "' " + endpoint + "\"$@\"\n"
		if err := os.WriteFile(filepath.Join(c.dir, "aws"), []byte(wrapper), 0o755); err != nil {
			return err
		}
		clis = append(clis, c)
	}
	if len(clis) == 0 {
		return errors.New("there is no aws command to play the stories with: run scripts/install-test-deps, or install the AWS CLI")
	}
	return nil
}

// eachCLI plays a story with version 1 and with version 2 of the AWS CLI, each on a
// server of its own.
func eachCLI(t *testing.T, story func(t *testing.T, c *cli)) {
	t.Parallel()
	for major := 1; major <= 2; major++ {
		t.Run(fmt.Sprintf("v%d", major), func(t *testing.T) {
			t.Parallel()
			for _, c := range clis {
				if c.major == major {
					story(t, c)
					return
				}
			}
			t.Skipf("there is no AWS CLI version %d on this machine", major)
		})
	}
}

// endpointRules lead a CLI that does not know AWS_ENDPOINT_URL to the server even
// when it calls STS by itself: data for it in the place of its own.
func (p *person) endpointRules(url string) *person {
	p.t.Helper()
	rules := fmt.Sprintf(`{"version": "1.0",
		"parameters": {"Endpoint": {"builtIn": "SDK::Endpoint", "type": "String", "required": false, "documentation": ""}},
		"rules": [
			{"type": "endpoint", "conditions": [{"fn": "isSet", "argv": [{"ref": "Endpoint"}]}],
				"endpoint": {"url": {"ref": "Endpoint"}, "properties": {}, "headers": {}}},
			{"type": "endpoint", "conditions": [],
				"endpoint": {"url": %q, "properties": {}, "headers": {}}}]}`, url)
	dir := filepath.Join(p.dir, "models", "sts", "2011-06-15")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "endpoint-rule-set-1.json"), []byte(rules), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return p.with("AWS_DATA_PATH=" + filepath.Join(p.dir, "models"))
}
