package codebuild

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A buildspec is what a build does (User Guide, "Build specification reference", version 0.2).
type buildspec struct {
	Version yaml.Node `yaml:"version"`
	Env     struct {
		Shell             string            `yaml:"shell"`
		Variables         map[string]string `yaml:"variables"`
		ParameterStore    map[string]string `yaml:"parameter-store"`
		SecretsManager    map[string]string `yaml:"secrets-manager"`
		ExportedVariables []string          `yaml:"exported-variables"`
	} `yaml:"env"`
	Phases struct {
		Install   phaseSpec `yaml:"install"`
		PreBuild  phaseSpec `yaml:"pre_build"`
		Build     phaseSpec `yaml:"build"`
		PostBuild phaseSpec `yaml:"post_build"`
	} `yaml:"phases"`
	Artifacts artifactsSpec `yaml:"artifacts"`
	Reports   yaml.Node     `yaml:"reports"`
	Cache     yaml.Node     `yaml:"cache"`
}

type phaseSpec struct {
	OnFailure       string    `yaml:"on-failure"`
	RuntimeVersions yaml.Node `yaml:"runtime-versions"`
	Commands        commands  `yaml:"commands"`
	Finally         commands  `yaml:"finally"`
}

type artifactsSpec struct {
	Files         texts                    `yaml:"files"`
	Name          string                   `yaml:"name"`
	BaseDirectory string                   `yaml:"base-directory"`
	DiscardPaths  string                   `yaml:"discard-paths"`
	ExcludePaths  texts                    `yaml:"exclude-paths"`
	Secondary     map[string]artifactsSpec `yaml:"secondary-artifacts"`
}

// notText says in CodeBuild's words that a command is none.
type notText struct{ index, line int }

func (e notText) Error() string {
	return fmt.Sprintf("Expected Commands[%d] to be of string type: found subkeys instead at line %d, value of the key tag on line %d might be empty", e.index, e.line, e.line-1)
}

// commands are a list of texts, and said so when they are not.
type commands []string

func (c *commands) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		*c = commands{n.Value}
		return nil
	}
	for i, e := range n.Content {
		if e.Kind == yaml.AliasNode {
			e = e.Alias
		}
		if n.Kind != yaml.SequenceNode || e.Kind != yaml.ScalarNode {
			return notText{i, e.Line}
		}
		*c = append(*c, e.Value)
	}
	return nil
}

// texts are a text or a list of them.
type texts []string

func (t *texts) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*t = texts{n.Value}
		return nil
	}
	return n.Decode((*[]string)(t))
}

// inline tells a buildspec from the path of one. AWS takes for the text of one what has
// more than a line, or is JSON.
func inline(given string) bool {
	return strings.ContainsAny(given, "\n{")
}

// parseBuildspec reads a buildspec. Its error is what the phase context says.
func parseBuildspec(text []byte) (*buildspec, error) {
	b := new(buildspec)
	if err := yaml.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch b.Version.Value {
	case "0.2":
	case "":
		return nil, fmt.Errorf("version is missing: a buildspec says version: 0.2")
	default:
		return nil, fmt.Errorf("iamd serves buildspec version 0.2, and this is %s", b.Version.Value)
	}
	switch b.Env.Shell {
	case "":
		b.Env.Shell = "sh"
	case "sh", "/bin/sh":
		b.Env.Shell = "sh"
	case "bash", "/bin/bash":
		b.Env.Shell = "bash"
	default:
		return nil, fmt.Errorf("iamd serves the shells sh and bash, and this is %s", b.Env.Shell)
	}
	found := false
	for _, p := range b.phases() {
		found = found || len(p.Commands) > 0
		switch p.OnFailure {
		case "", "ABORT", "CONTINUE":
		default:
			return nil, fmt.Errorf("iamd serves on-failure ABORT and CONTINUE, and this is %s", p.OnFailure)
		}
	}
	if !found {
		return nil, fmt.Errorf("there is no phase with commands")
	}
	for _, name := range b.Env.ExportedVariables {
		if !variable(name) {
			return nil, fmt.Errorf("%q cannot be the name of an exported variable", name)
		}
	}
	return b, nil
}

// A namedPhase is a phase that runs commands.
type namedPhase struct {
	name string
	*phaseSpec
}

func (b *buildspec) phases() []namedPhase {
	return []namedPhase{{"INSTALL", &b.Phases.Install}, {"PRE_BUILD", &b.Phases.PreBuild}, {"BUILD", &b.Phases.Build}, {"POST_BUILD", &b.Phases.PostBuild}}
}

// variable reports whether a shell can have a variable of the name.
func variable(name string) bool {
	return name != "" && identifier(name) && (name[0] < '0' || name[0] > '9')
}
