package codebuild

import (
	"archive/zip"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/codebuild/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/workload"
)

// upload writes the artifacts that a build left in its directory, as the role. spec is
// the buildspec's word on them with the variables put in.
func (s *Service) upload(ctx context.Context, c *service.Call, root *os.Root, to *api.ProjectArtifacts, spec artifactsSpec, build string) (*api.BuildArtifacts, error) {
	files, base, err := choose(root, spec)
	if err != nil {
		return nil, err
	}
	done := &api.BuildArtifacts{ArtifactIdentifier: to.ArtifactIdentifier, EncryptionDisabled: to.EncryptionDisabled, OverrideArtifactName: to.OverrideArtifactName, BucketOwnerAccess: to.BucketOwnerAccess}
	name := to.Name
	if to.OverrideArtifactName && spec.Name != "" {
		name = spec.Name
	}
	at := strings.Trim(to.Path, "/")
	if to.NamespaceType == "BUILD_ID" {
		at = path.Join(at, build)
	}
	at = strings.Trim(path.Join(at, name), "/")
	done.Location = "arn:aws:s3:::" + to.Location + "/" + at
	flat := spec.DiscardPaths == "yes" || spec.DiscardPaths == "true"
	named := func(file string) string {
		if flat {
			return path.Base(file)
		}
		return file
	}
	if to.Packaging != "ZIP" {
		for _, file := range files {
			f, err := root.Open(path.Join(base, file))
			if err != nil {
				return nil, err
			}
			if err := s.store(ctx, c, to.Location, strings.TrimPrefix(path.Join(at, named(file)), "/"), f); err != nil {
				return nil, err
			}
		}
		return done, nil
	}
	if at == "" {
		return nil, errors.New("the artifact has no name")
	}
	out, err := os.CreateTemp(s.temporary(), "artifact-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(out.Name())
	md, sha := md5.New(), sha256.New()
	w := zip.NewWriter(io.MultiWriter(out, md, sha))
	for _, file := range files {
		if err := pack(w, root, path.Join(base, file), named(file)); err != nil {
			out.Close()
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		out.Close()
		return nil, err
	}
	done.Md5sum, done.Sha256sum = hex.EncodeToString(md.Sum(nil)), hex.EncodeToString(sha.Sum(nil))
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return done, s.store(ctx, c, to.Location, at, out)
}

func pack(w *zip.Writer, root *os.Root, file, name string) error {
	f, err := root.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	h.Name, h.Method = name, zip.Deflate
	e, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(e, f)
	return err
}

// store writes an object and closes the file.
func (s *Service) store(ctx context.Context, c *service.Call, bucket, key string, f *os.File) error {
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	size := info.Size() - at
	if _, err := service.Invoke[s3.PutObjectOutput](ctx, s.Roles.Invoker, c, "s3", &s3.PutObjectInput{Bucket: bucket, Key: key, Body: f, ContentLength: &size}); err != nil {
		return fmt.Errorf("error while uploading key %s, error: %w", key, said(err))
	}
	return nil
}

var errNoFiles = errors.New("no matching artifact paths found")

// choose finds the files that a buildspec names, as paths below base. Nothing outside of
// the build's directory can be reached by them, nor by links that the build has made.
func choose(root *os.Root, spec artifactsSpec) (files []string, base string, err error) {
	base = sourceDir
	if b := spec.BaseDirectory; b != "" {
		if base, err = below(b); err != nil {
			return nil, "", err
		}
	}
	if found, err := baseMatching(root, base); err != nil {
		return nil, "", err
	} else {
		base = found
	}
	var patterns, without []string
	for _, p := range spec.Files {
		patterns = append(patterns, path.Clean(strings.TrimPrefix(p, "./")))
	}
	for _, p := range spec.ExcludePaths {
		without = append(without, path.Clean(strings.TrimPrefix(p, "./")))
	}
	at, err := root.OpenRoot(base)
	if err != nil {
		return nil, "", errNoFiles
	}
	defer at.Close()
	err = fs.WalkDir(at.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || !slices.ContainsFunc(patterns, func(p string) bool { return matches(p, name) }) ||
			slices.ContainsFunc(without, func(p string) bool { return matches(p, name) }) {
			return nil
		}
		if info, err := at.Stat(name); err != nil || !info.Mode().IsRegular() {
			return nil // a pipe, or a link that leads out
		}
		files = append(files, name)
		return nil
	})
	if err == nil && len(files) == 0 {
		err = errNoFiles
	}
	return files, base, err
}

// below is a directory as the buildspec names it, as a path below the build's directory.
func below(dir string) (string, error) {
	if !path.IsAbs(dir) {
		return path.Join(sourceDir, dir), nil
	}
	in, ok := strings.CutPrefix(path.Clean(dir)+"/", workload.TaskDir+"/")
	if !ok {
		return "", fmt.Errorf("base-directory %s is not in the build's directory %s", dir, workload.TaskDir)
	}
	return path.Clean(in), nil
}

// baseMatching finds the one directory that a base-directory with stars means.
func baseMatching(root *os.Root, base string) (string, error) {
	if !strings.ContainsAny(base, "*?[") {
		return base, nil
	}
	found, err := fs.Glob(root.FS(), base)
	if err != nil || len(found) == 0 {
		return "", errNoFiles
	}
	return found[0], nil
}

// matches reports whether a pattern of a buildspec means a file: ** is any number of
// directories, and the other signs are those of a shell.
func matches(pattern, name string) bool {
	var match func(p, n []string) bool
	match = func(p, n []string) bool {
		if len(p) == 0 {
			return len(n) == 0
		}
		if p[0] == "**" {
			for i := range len(n) + 1 {
				if match(p[1:], n[i:]) {
					return true
				}
			}
			return false
		}
		if len(n) == 0 {
			return false
		}
		ok, err := path.Match(p[0], n[0])
		return err == nil && ok && match(p[1:], n[1:])
	}
	return match(strings.Split(pattern, "/"), strings.Split(name, "/"))
}
