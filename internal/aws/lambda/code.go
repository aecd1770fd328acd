package lambda

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Limits of code: Developer Guide, "Lambda quotas".
const (
	largestZip      = 50 << 20  // in a request
	largestCode     = 250 << 20 // unpacked
	largestRequest  = 70_167_211
	mostCode        = 75 << 30 // of an account in a region
	mostEntries     = 100_000
	longestLinkText = 4096
)

// Code is a deployment package.
type Code struct {
	Hash string // SHA-256 of the zip, in hexadecimal: where its files are
	Size int64  // of the zip
}

// sha256 is CodeSha256 as AWS writes it.
func (c Code) sha256() string {
	sum, _ := hex.DecodeString(c.Hash)
	return base64.StdEncoding.EncodeToString(sum)
}

// codeOf is the directory of a package's files.
func (s *Service) codeOf(account, hash string) string {
	return filepath.Join(s.codeDir(), account, hash)
}

// zipOf is the package itself, as it came, for who asks for it with GetFunction.
func (s *Service) zipOf(account, hash string) string { return s.codeOf(account, hash) + ".zip" }

// receive unpacks the code that a request brings or names. Its caller holds kept until a
// version has the code.
func (s *Service) receive(ctx context.Context, c *service.Call, account string, in *api.FunctionCode) (Code, error) {
	switch {
	case in.ImageUri != "":
		return Code{}, api.InvalidParameterValue("iamd runs no container images: give the code as a zip.")
	case in.SourceKMSKeyArn != "":
		return Code{}, api.InvalidParameterValue("iamd has no KMS: code cannot be encrypted with a key.")
	case in.ZipFile != nil && in.S3Bucket+in.S3Key+in.S3ObjectVersion != "":
		return Code{}, api.InvalidParameterValue("Please do not provide other FunctionCode parameters when providing a ZipFile.")
	case len(in.ZipFile) > largestZip:
		return Code{}, api.RequestEntityTooLarge("Zipped size must be smaller than %d bytes", largestZip)
	case in.ZipFile != nil:
		return s.unpack(account, bytes.NewReader(in.ZipFile), int64(len(in.ZipFile)))
	case in.S3Bucket == "" || in.S3Key == "":
		return Code{}, api.InvalidParameterValue("Please provide a source for function code.")
	}
	return s.fetch(ctx, c, account, in)
}

// fetch reads a package from S3 with the caller's own permissions.
func (s *Service) fetch(ctx context.Context, c *service.Call, account string, in *api.FunctionCode) (Code, error) {
	out, err := service.Invoke[s3.GetObjectOutput](ctx, s.Invoker, c.Forward(principal), "s3",
		&s3.GetObjectInput{Bucket: in.S3Bucket, Key: in.S3Key, VersionId: in.S3ObjectVersion})
	if e := (*wire.Error)(nil); errors.As(err, &e) {
		if e.HTTPStatus() == 403 {
			return Code{}, api.AccessDenied("Your access has been denied by S3, please make sure your request credentials have permission to GetObject for %s/%s. "+
				"S3 Error Code: %s. S3 Error Message: %s", in.S3Bucket, in.S3Key, e.Code, e.Message)
		}
		return Code{}, api.InvalidParameterValue("Error occurred while GetObject. S3 Error Code: %s. S3 Error Message: %s", e.Code, e.Message)
	}
	if err != nil {
		return Code{}, err
	}
	defer out.Body.Close()
	// A zip is read from its end: it is laid down first.
	f, err := os.CreateTemp(s.codeDir(), "zip-")
	if err != nil {
		return Code{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(out.Body, largestCode+1))
	if err != nil {
		return Code{}, fmt.Errorf("reading code from S3: %w", err)
	}
	if n > largestCode {
		return Code{}, unzippedTooLarge()
	}
	return s.unpack(account, f, n)
}

func unzippedTooLarge() error {
	return api.InvalidParameterValue("Unzipped size must be smaller than %d bytes", largestCode)
}

func unreadable() error {
	return api.InvalidParameterValue("Could not unzip uploaded file. Please check your file, then try to upload again.")
}

// unpack unpacks a zip into the directory of its hash, and keeps it beside that. Nothing of it lands elsewhere,
// whatever its names and links say, and it takes no more room than code may.
func (s *Service) unpack(account string, r io.ReaderAt, size int64) (Code, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return Code{}, unreadable()
	}
	if len(z.File) == 0 {
		return Code{}, api.InvalidParameterValue("Uploaded file must be a non-empty zip")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, size)); err != nil {
		return Code{}, err
	}
	code := Code{Hash: hex.EncodeToString(sum.Sum(nil)), Size: size}
	final := s.codeOf(account, code.Hash)
	if _, err := os.Stat(final); err == nil {
		return code, nil
	}
	if err := os.MkdirAll(filepath.Dir(final), 0o700); err != nil {
		return Code{}, err
	}
	temp, err := os.MkdirTemp(s.codeDir(), "new-")
	if err != nil {
		return Code{}, err
	}
	defer os.RemoveAll(temp)
	if err := os.Chmod(temp, 0o755); err != nil { // who runs it is another user
		return Code{}, err
	}
	if err := extract(temp, z); err != nil {
		return Code{}, err
	}
	if err := s.keepZip(account, code.Hash, io.NewSectionReader(r, 0, size)); err != nil {
		return Code{}, err
	}
	if err := os.Rename(temp, final); err != nil && !exists(final) { // another call may have been faster
		return Code{}, err
	}
	return code, nil
}

// keepZip keeps the package. It is there, whole, before the directory of its files is.
func (s *Service) keepZip(account, hash string, from io.Reader) error {
	f, err := os.CreateTemp(s.codeDir(), "zip-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = io.Copy(f, from)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), s.zipOf(account, hash))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func extract(dir string, z *zip.Reader) error {
	if len(z.File) > mostEntries {
		return api.InvalidParameterValue("The zip has more than %d entries.", mostEntries)
	}
	root, err := os.OpenRoot(dir) // which no name and no link leads out of
	if err != nil {
		return err
	}
	defer root.Close()
	left := int64(largestCode)
	for _, f := range z.File {
		name := path.Clean(f.Name)
		if !filepath.IsLocal(name) || strings.Contains(f.Name, `\`) {
			return unreadable()
		}
		if name == "." {
			continue
		}
		if err := extractFile(root, name, f, &left); err != nil {
			return err
		}
	}
	return nil
}

// extractFile makes one entry and takes its size from what is left.
func extractFile(root *os.Root, name string, f *zip.File, left *int64) error {
	mode := f.Mode()
	if mode.IsDir() || strings.HasSuffix(f.Name, "/") {
		return ours(root.MkdirAll(name, 0o755))
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return ours(err)
	}
	if mode&^(fs.ModePerm|fs.ModeSymlink|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 { // devices, pipes
		return unreadable()
	}
	from, err := f.Open()
	if err != nil {
		return unreadable()
	}
	defer from.Close()
	if mode&fs.ModeSymlink != 0 {
		to, err := io.ReadAll(io.LimitReader(from, longestLinkText))
		if err != nil || !filepath.IsLocal(path.Join(path.Dir(name), string(to))) || path.IsAbs(string(to)) {
			return unreadable()
		}
		return ours(root.Symlink(string(to), name))
	}
	perm := fs.FileMode(0o644)
	if mode&0o111 != 0 {
		perm = 0o755
	}
	to, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, perm)
	if err != nil {
		return ours(err)
	}
	defer to.Close()
	n, err := io.Copy(to, io.LimitReader(from, *left+1))
	if *left -= n; *left < 0 {
		return unzippedTooLarge()
	}
	if errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) {
		return unreadable()
	}
	if err != nil {
		var bad *fs.PathError
		if errors.As(err, &bad) { // a write, which is not the zip's fault
			return err
		}
		return unreadable()
	}
	return to.Close()
}

// ours tells what is wrong with names of a zip (a file where a directory is, a link that
// leads out) from what is wrong with the disk.
func ours(err error) error {
	if err == nil || errors.Is(err, errNoSpace) || errors.Is(err, errQuota) || errors.Is(err, errIO) {
		return err
	}
	return unreadable()
}

// sweep removes code that neither a version nor an environment has any more.
func (s *Service) sweep(account string, hashes ...string) {
	s.pool.begin(func() {
		s.kept.Lock()
		defer s.kept.Unlock()
		used := s.codes(account)
		for _, hash := range hashes {
			if hash != "" && !used[hash] && !s.pool.uses(account, hash) {
				if err := errors.Join(os.RemoveAll(s.codeOf(account, hash)), os.RemoveAll(s.zipOf(account, hash))); err != nil {
					s.log().Error("code of a function could not be removed", "account", account, "error", err)
				}
			}
		}
	})
}

// codes are the hashes of the code that an account's versions have.
func (s *Service) codes(account string) map[string]bool {
	used := map[string]bool{}
	for _, v := range versions.All(s.DB.View(), account+"/") {
		used[v.Code.Hash] = true
	}
	return used
}

func (s *Service) sweepAll() error {
	accounts, err := os.ReadDir(s.codeDir())
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if strings.Contains(a.Name(), "-") { // zip-, new-: of a life before
			if err := os.RemoveAll(filepath.Join(s.codeDir(), a.Name())); err != nil {
				return err
			}
			continue
		}
		all, err := os.ReadDir(filepath.Join(s.codeDir(), a.Name()))
		if err != nil {
			return err
		}
		used := s.codes(a.Name())
		for _, c := range all {
			if !used[strings.TrimSuffix(c.Name(), ".zip")] {
				if err := os.RemoveAll(filepath.Join(s.codeDir(), a.Name(), c.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
