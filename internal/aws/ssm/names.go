package ssm

import (
	"regexp"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// A place is where a parameter is, or would be.
type place struct {
	account, region string
	name            string // as the caller wrote it, without a selector; with its leading slash where it comes from an ARN of several levels
	selector        string // what follows the name after a colon: a version or a label
	foreign         bool   // named by an ARN that is no parameter's
}

// locate reads what a caller names a parameter by: its name or ARN, and perhaps a
// version or label after a colon.
func locate(c *service.Call, text string) place {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "arn:") {
		return ofARN(arn.ARN(text))
	}
	p := place{account: c.Account, region: c.Region, name: text}
	p.name, p.selector, _ = strings.Cut(text, ":")
	return p
}

func ofARN(a arn.ARN) place {
	p := place{account: a.Account(), region: a.Region()}
	name, ok := strings.CutPrefix(a.Resource(), "parameter/")
	if !ok || a.Service() != "ssm" {
		p.foreign = true
	}
	p.name, p.selector, _ = strings.Cut(name, ":")
	if strings.Contains(p.name, "/") {
		p.name = "/" + p.name
	}
	return p
}

// plain is the name by which a parameter is kept: without the slash when it is of the
// first level.
func (p place) plain() string {
	if rest, ok := strings.CutPrefix(p.name, "/"); ok && !strings.Contains(rest, "/") {
		return rest
	}
	return p.name
}

// key is where the parameter is kept.
func (p place) key() string { return p.account + "/" + p.region + "/" + p.plain() }

func (p place) arn() arn.ARN {
	return arn.New("aws", "ssm", p.region, p.account, "parameter/"+strings.TrimPrefix(p.name, "/"))
}

var pathed = regexp.MustCompile(`^(/[A-Za-z0-9_.-]+)+$`)

const (
	maxLevels = 15
	maxName   = 1011 // of the ARN: PutParameter's documentation, "naming constraints"
)

// named says what is wrong with the name of a parameter that is read.
func (p place) named() error {
	switch {
	case strings.Contains(p.selector, ":"):
		return api.Validation("Invalid parameter name. Please use correct syntax for referencing a version/label  <name>:<version/label>")
	case p.foreign || !pathed.MatchString("/"+strings.TrimPrefix(p.name, "/")) || strings.Contains(strings.TrimPrefix(p.name, "/"), "/") && p.name[0] != '/':
		return misnamed(p.name)
	}
	return nil
}

// mayBe says why no parameter can be made by that name.
func (p place) mayBe() error {
	lower := strings.ToLower(strings.TrimPrefix(p.name, "/"))
	hierarchy := strings.Contains(strings.TrimPrefix(p.name, "/"), "/")
	switch {
	case strings.HasPrefix(lower, "aws") && hierarchy && p.name[0] == '/':
		return api.AccessDenied("No access to reserved parameter name: %s.", strings.TrimPrefix(p.name, "/"))
	case strings.HasPrefix(lower, "aws"), strings.HasPrefix(lower, "ssm"):
		return misnamed(p.name)
	case hierarchy && p.name[0] != '/':
		return api.Validation("Parameter name must be a fully qualified name.")
	case !pathed.MatchString("/" + strings.TrimPrefix(p.name, "/")):
		return misnamed(p.name)
	case strings.Count(p.name, "/") > maxLevels:
		return api.HierarchyLevelLimitExceeded("A hierarchy can have a maximum of 15 levels. For more information, see Requirements and constraints for parameter names in the Amazon Web Services Systems Manager User Guide.")
	case len(p.arn()) > maxName:
		return api.Validation("The parameter name is too long: with the ARN before it, it can have at most %d characters.", maxName)
	}
	return nil
}

func misnamed(name string) error {
	if strings.Contains(strings.TrimPrefix(name, "/"), "/") {
		return api.Validation(`Parameter name: can't be prefixed with "ssm" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_`)
	}
	return api.Validation(`Parameter name: can't be prefixed with "aws" or "ssm" (case-insensitive). If formed as a path, it can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following 3 symbols .-_`)
}

// checkPath says what is wrong with the path of GetParametersByPath or of a filter.
func checkPath(path string) error {
	if path == "/" || pathed.MatchString(strings.TrimSuffix(path, "/")) {
		return nil
	}
	return api.Validation(`The parameter doesn't meet the parameter name requirements. The parameter name must begin with a forward slash "/". It can't be prefixed with "aws" or "ssm" (case-insensitive). It must use only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special characters are not allowed. All sub-paths, if specified, must use the forward slash symbol "/". Valid example: /get/parameters2-/by1./path0_.`)
}
