// Package iamd_test holds the tests over the whole tree: that every package has a
// manual, that imports go one way, that the tables of the services are complete, and
// that generated files are what the generator makes.
package iamd_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A package's comment is its manual: what it is for, the words it uses, what it
// promises. A test cannot tell a good one, but it can tell that somebody sat down.
func TestPackageComments(t *testing.T) {
	const sentences, letters = 3, 200
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		var comments []string
		for _, file := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil && !ast.IsGenerated(f) {
				comments = append(comments, f.Doc.Text())
			}
		}
		switch {
		case len(comments) == 0:
			t.Errorf("%s has no package comment", name)
		case len(comments) > 1:
			t.Errorf("%s has %d package comments", name, len(comments))
		case len(comments[0]) < letters || len(sentenceEnd.FindAllString(comments[0], -1)) < sentences:
			t.Errorf("%s has a package comment that is no manual: %d letters, %q", name, len(comments[0]), comments[0])
		}
	}
}

var sentenceEnd = regexp.MustCompile(`[.:;]\s`)

var generateLine = regexp.MustCompile(`(?m)^//go:generate go run (.*)$`)

// Every go:generate line of apigen is run into another file, which is compared with the
// committed one. The data of package reference come from a registry, which a test may
// not need: its generator pins them by checksum, and its own tests count them.
func TestGeneratedFilesAreCurrent(t *testing.T) {
	generator := filepath.Join(t.TempDir(), "apigen")
	if out, err := exec.Command("go", "build", "-o", generator, "./internal/apigen").CombinedOutput(); err != nil {
		t.Fatalf("building apigen: %v\n%s", err, out)
	}
	n := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == "bench" || strings.HasPrefix(d.Name(), ".") && file != "."):
			return fs.SkipDir
		case filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range generateLine.FindAllStringSubmatch(string(text), -1) {
			args := strings.Fields(m[1])
			if args[0] == "./gen" && file == "internal/reference/reference.go" {
				continue
			}
			out := strings.Index(m[1], " -o ")
			if args[0] != module+"internal/apigen" || out < 0 {
				t.Errorf("%s: this test does not know how to check %q", file, m[0])
				continue
			}
			n++
			made := filepath.Join(t.TempDir(), "made.go")
			committed := filepath.Join(filepath.Dir(file), args[len(args)-1])
			cmd := exec.Command(generator, append(args[1:len(args)-1:len(args)-1], made)...)
			cmd.Dir = filepath.Dir(file)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", file, err, out)
				continue
			}
			want, err := os.ReadFile(made)
			if err != nil {
				return err
			}
			got, err := os.ReadFile(committed)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is not what the generator makes: run go generate ./%s", committed, filepath.Dir(file))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 3 {
		t.Errorf("found %d lines of apigen; IAM, STS and S3 have one each", n)
	}
}
