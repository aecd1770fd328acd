package codebuild

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// maxSource is how much the files of a source may be, unpacked.
const maxSource = 8 << 30

// A place is where a source is: an object that is a zip, or a folder of objects.
type place struct {
	bucket, key, version string
}

// fetch puts a source into an empty directory, reading it as the role. It returns the
// version that it found, which is "" for folders.
func (s *Service) fetch(ctx context.Context, c *service.Call, from place, dir string) (resolved string, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	if !strings.HasSuffix(from.key, "/") {
		return s.fetchObject(ctx, c, from, root)
	}
	left := int64(maxSource)
	token := ""
	for {
		page, err := service.Invoke[s3.ListObjectsV2Output](ctx, s.Roles.Invoker, c, "s3", &s3.ListObjectsV2Input{Bucket: from.bucket, Prefix: from.key, ContinuationToken: token})
		if err != nil {
			return "", fmt.Errorf("error while listing folder %s, error: %w", from.key, said(err))
		}
		for _, o := range page.Contents {
			name := strings.TrimPrefix(o.Key, from.key)
			if name == "" || strings.HasSuffix(name, "/") {
				continue
			}
			out, err := s.open(ctx, c, place{bucket: from.bucket, key: o.Key})
			if err != nil {
				return "", err
			}
			err = put(root, name, 0o644, out.Body, &left)
			out.Body.Close()
			if err != nil {
				return "", err
			}
		}
		if token = page.NextContinuationToken; token == "" {
			return "", nil
		}
	}
}

func (s *Service) open(ctx context.Context, c *service.Call, from place) (*s3.GetObjectOutput, error) {
	out, err := service.Invoke[s3.GetObjectOutput](ctx, s.Roles.Invoker, c, "s3", &s3.GetObjectInput{Bucket: from.bucket, Key: from.key, VersionId: from.version})
	if err != nil {
		return nil, fmt.Errorf("error while downloading key %s, error: %w", from.key, said(err))
	}
	return out, nil
}

// fetchObject unpacks a zip.
func (s *Service) fetchObject(ctx context.Context, c *service.Call, from place, root *os.Root) (string, error) {
	out, err := s.open(ctx, c, from)
	if err != nil {
		return "", err
	}
	defer out.Body.Close()
	f, err := os.CreateTemp(s.temporary(), "source-")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	size, err := io.Copy(f, io.LimitReader(out.Body, maxSource+1))
	if err != nil {
		return "", err
	}
	archive, err := zip.NewReader(f, size)
	if err != nil {
		return "", fmt.Errorf("error while unpacking key %s: it is not a zip archive (a folder ends with a slash)", from.key)
	}
	if err := unpack(archive, root); err != nil {
		return "", fmt.Errorf("error while unpacking key %s, error: %w", from.key, err)
	}
	return out.VersionId, nil
}

// unpack writes what an archive has below root, and nothing elsewhere.
func unpack(archive *zip.Reader, root *os.Root) error {
	left := int64(maxSource)
	for _, f := range archive.File {
		name := strings.TrimPrefix(strings.ReplaceAll(f.Name, `\`, "/"), "./")
		if strings.HasSuffix(name, "/") || f.Mode().IsDir() {
			if name = strings.TrimSuffix(name, "/"); name != "" && name != "." {
				if err := root.MkdirAll(name, 0o755); err != nil {
					return err
				}
			}
			continue
		}
		in, err := f.Open()
		if err != nil {
			return err
		}
		if f.Mode()&fs.ModeSymlink != 0 {
			err = link(root, name, in)
		} else {
			err = put(root, name, f.Mode().Perm(), in, &left)
		}
		in.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func link(root *os.Root, name string, in io.Reader) error {
	to, err := io.ReadAll(io.LimitReader(in, 4096))
	if err != nil {
		return err
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	return root.Symlink(string(to), name)
}

// put writes one file of a source. left is what all files together may still be.
func put(root *os.Root, name string, mode fs.FileMode, in io.Reader, left *int64) error {
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode|0o600)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(in, *left+1))
	if *left -= n; err == nil && *left < 0 {
		err = errors.New("the source is too large")
	}
	return errors.Join(err, f.Close())
}

// said is an error of AWS as CodeBuild repeats it: code and message.
func said(err error) error {
	var e *wire.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s: %s", e.Code, e.Message)
	}
	return err
}
