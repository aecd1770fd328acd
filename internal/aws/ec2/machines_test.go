package ec2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/ec2"
	"github.com/iamd-dev/iamd/internal/awstest"
	"github.com/iamd-dev/iamd/internal/sigv4"
	"github.com/iamd-dev/iamd/internal/workload"
)

// An agent runs in an instance for as long as that runs, with its role's credentials, and
// runs commands in it.
func TestAgent(t *testing.T) {
	s := awstest.Start(t)
	type said struct{ who, out string }
	guests := make(chan said, 4)
	ended := make(chan string, 4)
	s.Machines.Agent = func(ctx context.Context, g *ec2.Guest) {
		var x said
		x.who = string(g.ARN)
		read, write, err := os.Pipe()
		if err != nil {
			t.Error(err)
			return
		}
		e, err := g.Exec(workload.Command{Path: "/bin/sh", Args: []string{"-c", "echo $HOME $AWS_REGION; id -u; exit 5"}, Stdout: write})
		write.Close()
		if err == nil {
			var out []byte
			out, err = io.ReadAll(read)
			x.out = string(out)
			if code, ended := e.Wait(); code != 5 || ended != nil {
				t.Errorf("the command ended with %d, %v", code, ended)
			}
		}
		read.Close()
		if err != nil {
			t.Error(err)
		}
		if _, err := g.Credentials(ctx); !errors.Is(err, ec2.ErrNoRole) {
			t.Errorf("without a role: %v", err)
		}
		guests <- x
		<-ctx.Done()
		ended <- string(g.ARN)
	}
	call := func(form url.Values) string {
		t.Helper()
		form.Set("Version", "2016-11-15")
		body := []byte(form.Encode())
		r, err := http.NewRequest("POST", s.URL, strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		root := s.Root(awstest.DefaultAccount)
		signer := sigv4.Signer{AccessKeyID: root.AccessKeyID, SecretAccessKey: root.SecretAccessKey, Region: "us-east-1", Service: "ec2"}
		signer.Sign(r, sigv4.Hash(body), s.Now())
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 {
			t.Fatalf("%s", b)
		}
		return string(b)
	}
	between := func(text, open, shut string) string {
		_, rest, _ := strings.Cut(text, open)
		found, _, _ := strings.Cut(rest, shut)
		return found
	}
	wait := func(from chan said) said {
		t.Helper()
		select {
		case x := <-from:
			return x
		case <-time.After(30 * time.Second):
			t.Fatal("no agent")
			panic("unreachable")
		}
	}
	image := between(call(url.Values{"Action": {"DescribeImages"}}), "<imageId>", "</imageId>")
	out := call(url.Values{"Action": {"RunInstances"}, "ImageId": {image}, "MinCount": {"1"}, "MaxCount": {"1"}})
	id := between(out, "<instanceId>", "</instanceId>")
	want := "arn:aws:ec2:us-east-1:" + awstest.DefaultAccount + ":instance/" + id
	first := wait(guests)
	if first.who != want || !strings.HasPrefix(first.out, "/mnt us-east-1\n") {
		t.Errorf("%+v", first)
	}
	call(url.Values{"Action": {"StopInstances"}, "InstanceId.1": {id}})
	if got := <-ended; got != want {
		t.Errorf("%s ended", got)
	}
	call(url.Values{"Action": {"StartInstances"}, "InstanceId.1": {id}})
	if again := wait(guests); again.who != want {
		t.Errorf("started again: %+v", again)
	}
}
