package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/identity"
)

// A credentials is a file of access keys as ~/.aws/credentials has them: profiles
// in brackets, and under each its settings.
//
//	[default]
//	aws_access_key_id = AKIA...
//	aws_secret_access_key = ...
//
// Lines that begin with # or ; are comments; a line that begins with white space
// goes on with the setting before. What is not of that form is an error that names
// the line. Profiles and comments that are not ours are kept as they are.
type credentials struct {
	path     string
	head     []string // lines before the first profile
	profiles []*profile
	found    bool // there is such a file
}

type profile struct {
	name     string
	lines    []string // as written, without the one in brackets
	settings map[string]string
}

const (
	keyIDSetting  = "aws_access_key_id"
	secretSetting = "aws_secret_access_key"
	tokenSetting  = "aws_session_token"
)

// readCredentials reads the file at path; that there is none yet is no error.
func readCredentials(path string) (*credentials, error) {
	c := &credentials{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the credentials: %w", err)
	}
	c.found = true
	if err := c.parse(text); err != nil {
		return nil, fmt.Errorf("%s is damaged: %w; mend it, or move it away to have it made anew", path, err)
	}
	return c, nil
}

func (c *credentials) parse(text []byte) error {
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return errors.New("it is not text")
	}
	var p *profile
	last := "" // the setting that an indented line belongs to
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimRight(lines.Text(), " \t\r")
		trimmed := strings.TrimLeft(line, " \t")
		switch {
		case trimmed == "" || trimmed[0] == '#' || trimmed[0] == ';':
		case line[0] == '[':
			name, ok := strings.CutSuffix(line[1:], "]")
			if name = strings.TrimSpace(name); !ok || name == "" {
				return fmt.Errorf("line %d begins a profile and has no name in brackets", n)
			}
			if c.profile(name) != nil {
				return fmt.Errorf("line %d: profile %s is there twice", n, name)
			}
			p = &profile{name: name, settings: map[string]string{}}
			c.profiles = append(c.profiles, p)
			last = ""
			continue
		case p == nil:
			return fmt.Errorf("line %d stands before the first profile", n)
		case trimmed != line && last != "": // goes on with the setting before
		default:
			name, value, ok := strings.Cut(trimmed, "=")
			if name = strings.ToLower(strings.TrimSpace(name)); !ok || name == "" {
				return fmt.Errorf("line %d is not of the form name = value", n)
			}
			if _, twice := p.settings[name]; twice {
				return fmt.Errorf("line %d: profile %s has %s twice", n, p.name, name)
			}
			p.settings[name], last = strings.TrimSpace(value), name
		}
		if p == nil {
			c.head = append(c.head, line)
		} else {
			p.lines = append(p.lines, line)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	for _, p := range c.profiles {
		if ours(p.name) && (p.settings[keyIDSetting] == "" || p.settings[secretSetting] == "") {
			return fmt.Errorf("profile %s lacks %s or %s", p.name, keyIDSetting, secretSetting)
		}
	}
	return nil
}

func (c *credentials) profile(name string) *profile {
	for _, p := range c.profiles {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (c *credentials) names() []string {
	var names []string
	for _, p := range c.profiles {
		names = append(names, p.name)
	}
	return names
}

const (
	rootPrefix     = "root-" // and the account id
	defaultProfile = "default"
)

// ours reports whether the server writes the profile.
func ours(name string) bool {
	account, ok := strings.CutPrefix(name, rootPrefix)
	return name == defaultProfile || ok && identity.ValidAccount(account)
}

// update brings the file in line with the accounts' root keys and writes it if
// that changed anything. The default profile is the first account's, unless
// somebody has put another key there.
func (c *credentials) update(keys []identity.RootKey) error {
	changed := false
	put := func(name string, key identity.RootKey) {
		p := c.profile(name)
		if p == nil {
			p = &profile{name: name}
			c.profiles = append(c.profiles, p)
		} else if p.settings[keyIDSetting] == key.ID && p.settings[secretSetting] == key.Secret.Reveal() {
			return
		}
		p.settings = map[string]string{keyIDSetting: key.ID, secretSetting: key.Secret.Reveal()}
		p.lines = []string{keyIDSetting + " = " + key.ID, secretSetting + " = " + key.Secret.Reveal(), ""}
		changed = true
	}
	for i, key := range keys {
		name := rootPrefix + key.Account
		if i == 0 {
			was, now := c.profile(name), c.profile(defaultProfile)
			if now == nil || was != nil && was.settings[keyIDSetting] == now.settings[keyIDSetting] {
				put(defaultProfile, key)
			}
		}
		put(name, key)
	}
	if !changed {
		return nil
	}
	if err := c.write(); err != nil {
		return fmt.Errorf("writing the root access keys: %w", err)
	}
	return nil
}

// write replaces the file: a crash leaves the old one or the new one.
func (c *credentials) write() error {
	var b bytes.Buffer
	if !c.found {
		b.WriteString("# Root access keys of iamd's accounts. They may do everything there.\n\n")
	}
	for _, line := range c.head {
		b.WriteString(line + "\n")
	}
	for _, p := range c.profiles {
		b.WriteString("[" + p.name + "]\n")
		for _, line := range p.lines {
			b.WriteString(line + "\n")
		}
	}
	return replaceFile(c.path, b.Bytes())
}

// replaceFile writes a file of mode 0600 so that after a crash it is the old one
// or the new one, whole.
func replaceFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
