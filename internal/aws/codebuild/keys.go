package codebuild

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/policy"
)

// conditionKey gives CodeBuild's condition keys (User Guide, "Using CodeBuild condition
// keys as IAM service control variables"), which are paths into the project that a call
// makes or changes, or overrides for one build: codebuild:source.location. Where a path
// leads through a list, the key has a value for each element, or, as in
// environment.environmentVariables/NAME.value, that of the element of the name. The key of
// a structure is there when the structure is, and empty: it is for Null.
func conditionKey(_ *service.Call, check *service.Check, _ *service.Object, key string) (policy.Value, bool) {
	path, ok := strings.CutPrefix(key, "codebuild:")
	if !ok {
		return policy.Value{}, false
	}
	var values []string
	switch in := check.In.(type) {
	case *api.CreateProjectInput:
		values = at(reflect.ValueOf(in), path)
	case *api.UpdateProjectInput:
		values = at(reflect.ValueOf(in), path)
	case *api.StartBuildInput:
		values = at(reflect.ValueOf(in), overrideIn(path))
	}
	switch len(values) {
	case 0:
		return policy.Value{}, false
	case 1:
		return policy.String(values[0]), true
	}
	return policy.List(values), true
}

// overridden are the members of StartBuild's input that are not named as a key is, with
// "override" behind its first word.
var overridden = map[string]string{
	"source.auth":                          "sourceauthoverride",
	"source.buildspec":                     "buildspecoverride",
	"source.buildstatusconfig":             "buildstatusconfigoverride",
	"source.insecuressl":                   "insecuressloverride",
	"source.location":                      "sourcelocationoverride",
	"environment.certificate":              "certificateoverride",
	"environment.computetype":              "computetypeoverride",
	"environment.environmentvariables":     "environmentvariablesoverride",
	"environment.fleet":                    "fleetoverride",
	"environment.image":                    "imageoverride",
	"environment.imagepullcredentialstype": "imagepullcredentialstypeoverride",
	"environment.privilegedmode":           "privilegedmodeoverride",
	"environment.registrycredential":       "registrycredentialoverride",
	"environment.type":                     "environmenttypeoverride",
}

// overrideIn is the path into StartBuild's input for a path into a project.
func overrideIn(path string) string {
	for prefix, member := range overridden {
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '.' || rest[0] == '/') {
			return member + rest
		}
	}
	head, tail := cut(path)
	return head + "override" + tail
}

// cut takes the first word off a path, leaving the mark that follows it.
func cut(path string) (head, tail string) {
	if i := strings.IndexAny(path, "./"); i >= 0 {
		return path[:i], path[i:]
	}
	return path, ""
}

// at are the values that a path in lower case leads to.
func at(v reflect.Value, path string) []string {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return nil
		}
		v = v.Elem()
	}
	if v.Kind() == reflect.Slice {
		if v.Len() == 0 {
			return nil
		}
		if path == "" && v.Type().Elem().Kind() == reflect.Struct {
			return []string{""}
		}
		wanted := ""
		if strings.HasPrefix(path, "/") { // the name may have dots: the member is the last word
			last := strings.LastIndex(path, ".")
			if last < 0 {
				return nil
			}
			wanted, path = path[1:last], path[last:]
		}
		var all []string
		for i := range v.Len() {
			if wanted == "" || strings.EqualFold(named(v.Index(i)), wanted) {
				all = append(all, at(v.Index(i), path)...)
			}
		}
		return all
	}
	path = strings.TrimPrefix(path, ".")
	switch v.Kind() {
	case reflect.Struct:
		if path == "" {
			return []string{""}
		}
		head, tail := cut(path)
		f := v.FieldByNameFunc(func(name string) bool { return strings.EqualFold(name, head) })
		if !f.IsValid() {
			return nil
		}
		return at(f, tail)
	case reflect.String:
		if path == "" && v.Len() > 0 {
			return []string{v.String()}
		}
	case reflect.Bool:
		if path == "" {
			return []string{strconv.FormatBool(v.Bool())}
		}
	case reflect.Int32, reflect.Int64:
		if path == "" {
			return []string{strconv.FormatInt(v.Int(), 10)}
		}
	}
	return nil
}

// named is what an element of a list is called in keys.
func named(v reflect.Value) string {
	for _, name := range []string{"ArtifactIdentifier", "SourceIdentifier", "Identifier", "Name"} {
		if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String && f.String() != "" {
			return f.String()
		}
	}
	return ""
}
