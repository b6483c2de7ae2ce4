package e2e

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
)

const imagesVersion, imagesCommit = "v9.8.7", "0123456789abcdef0123456789abcdef01234567"

// deploy/Dockerfile is built by buildah, with nothing in the build but the Go
// toolchain and no network; what comes of it is started with a read-only root, as
// nobody and with no capability, and people chat.
func TestProcessImages(t *testing.T) {
	if os.Getenv("PARLEY_NO_IMAGES") == "1" {
		t.Skip("PARLEY_NO_IMAGES=1: not building deploy/Dockerfile")
	}
	if os.Getuid() != 0 {
		t.Fatal("building images needs root here: set PARLEY_NO_IMAGES=1 to leave this test out")
	}
	b := newBuilder(t)
	b.toolchain()
	images := b.build(filepath.Join("..", ".."), runtime.GOARCH, "gateway", "parley")
	if want := []string{"localhost/test/parley-gateway:", "localhost/test/parley:"}; len(images) != 2 ||
		images[0] != want[0]+imagesVersion+"-"+runtime.GOARCH || images[1] != want[1]+imagesVersion+"-"+runtime.GOARCH {
		t.Fatalf("images are %v, want %v", images, want)
	}
	for _, image := range images {
		b.check(image, runtime.GOARCH, "pkg:golang/github.com/nats-io/nats.go@v")
	}
	if mine, same := b.inspect("localhost/test/parley:"+imagesVersion), b.inspect(images[1]); mine.FromImageID != same.FromImageID {
		t.Errorf("the image for this machine is %v by its version, want %v", mine, same)
	}
	for _, image := range b.build(standIn(t), other, "gateway") {
		b.check(image, other, "pkg:golang/std@")
	}

	if said := b.start(images[0], "--version").Stdout(); !strings.HasPrefix(said, "gateway "+imagesVersion+" (commit "+imagesCommit+", go") {
		t.Errorf("--version says %q", said)
	}
	addr, admin := process.Addr(t), process.Addr(t)
	p := b.launch(images[1], "http://"+admin, "serve", "--http-addr", addr, "--admin-addr", admin)
	p.WaitReady()
	alice, bob := client.Dial(t, "http://"+addr, client.Options{}), client.Dial(t, "http://"+addr, client.Options{})
	alice.SignIn(register(t, "http://"+addr, "alice"))
	bob.SignIn(register(t, "http://"+addr, "bob"))
	alice.Join("general")
	bob.Join("general")
	chatting(t, "general", "out of an image", alice, bob)
	if status := p.Stop(); status != 0 {
		t.Errorf("ended with status %d", status)
	}
}

// builder is buildah with a store of its own.
type builder struct {
	t   *testing.T
	dir string
	env []string
}

func newBuilder(t *testing.T) *builder {
	t.Helper()
	dir := t.TempDir()
	b := &builder{t: t, dir: dir, env: append(os.Environ(), "BUILDER=buildah", "BUILDAH_ISOLATION=oci", "BUILDAH_RUNTIME=runc",
		"CONTAINERS_STORAGE_CONF="+filepath.Join(dir, "storage.conf"))}
	store := "[storage]\ndriver = \"" + driver(t, dir) + "\"\ngraphroot = \"" + filepath.Join(dir, "store") + "\"\nrunroot = \"" + filepath.Join(dir, "run") + "\"\n"
	if err := os.WriteFile(filepath.Join(dir, "storage.conf"), []byte(store), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.run("buildah", "rm", "--all")
		b.run("buildah", "rmi", "--all", "--force")
	})
	return b
}

// driver is how layers are kept in a folder: by overlayfs, which takes half the
// time, but not where the folder is in an overlayfs itself, as in a container.
func driver(t *testing.T, dir string) string {
	t.Helper()
	var in syscall.Statfs_t
	if err := syscall.Statfs(dir, &in); err != nil {
		t.Fatal(err)
	}
	if in.Type == 0x794c7630 { // OVERLAYFS_SUPER_MAGIC, statfs(2)
		return "vfs"
	}
	return "overlay"
}

// run runs a command, its settings before its arguments, and gives what it
// printed.
func (b *builder) run(command string, args ...string) string {
	b.t.Helper()
	cmd := exec.Command(command)
	cmd.Env = b.env
	for len(args) > 0 && strings.Contains(args[0], "=") && !strings.HasPrefix(args[0], "-") {
		cmd.Env, args = append(cmd.Env, args[0]), args[1:]
	}
	cmd.Args = append(cmd.Args, args...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		b.t.Fatalf("%s %v: %v\n%s", command, args, err, said.String())
	}
	return strings.TrimSpace(out.String())
}

// toolchain makes the image that the Dockerfile builds in: the Go that is here,
// for which it has the place, and nothing else.
func (b *builder) toolchain() {
	b.t.Helper()
	c := b.run("buildah", "from", "scratch")
	root := b.run("buildah", "mount", c)
	for _, dir := range []string{"tmp", "root", "usr/local/go"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			b.t.Fatal(err)
		}
	}
	b.run("buildah", "config", "--env", "PATH=/usr/local/go/bin", "--env", "GOTOOLCHAIN=local", "--env", "HOME=/root", c)
	b.run("buildah", "commit", "--rm", c, "docker.io/library/golang:1.26")
}

// build runs scripts/images of a source tree and gives the names of what came of
// it.
func (b *builder) build(source, arch string, programs ...string) []string {
	b.t.Helper()
	return strings.Fields(b.run(filepath.Join(source, "scripts", "images"), append([]string{
		"VERSION=" + imagesVersion, "COMMIT=" + imagesCommit, "IMAGES=localhost/test", "SBOM=" + b.sbom(), "PLATFORMS=linux/" + arch,
		// The caches make it quick, and no network shows that nothing else is fetched.
		"FLAGS=--pull-never --network=none --env GOPROXY=off -v " + goEnv(b.t, "GOROOT") + ":/usr/local/go:ro -v " +
			goEnv(b.t, "GOMODCACHE") + ":/root/go/pkg/mod -v " + goEnv(b.t, "GOCACHE") + ":/root/.cache/go-build",
	}, programs...)...))
}

func (b *builder) sbom() string { return filepath.Join(b.dir, "sbom") }

// check sees that an image is for a machine, needs nothing but its program and
// says what that is, and what it is made of.
func (b *builder) check(image, arch, part string) {
	b.t.Helper()
	i := b.inspect(image)
	if i.OCIv1.Architecture != arch || i.OCIv1.Config.User != "65532:65532" || strings.Join(i.OCIv1.Config.Entrypoint, " ") != "/program" ||
		i.OCIv1.Config.Labels["org.opencontainers.image.version"] != imagesVersion ||
		i.OCIv1.Config.Labels["org.opencontainers.image.revision"] != imagesCommit {
		b.t.Errorf("%s is %+v", image, i)
	}
	root := b.mount(image)
	if data, err := os.Stat(filepath.Join(root, "var/lib/parley")); err != nil || data.Sys().(*syscall.Stat_t).Uid != 65532 {
		b.t.Errorf("%s: the directory of data: %+v, %v", image, data, err)
	}
	program, err := elf.Open(filepath.Join(root, "program"))
	if err != nil {
		b.t.Fatal(err)
	}
	defer program.Close()
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[arch]
	if libraries, err := program.ImportedLibraries(); program.Machine != machine || len(libraries) > 0 || err != nil {
		b.t.Errorf("%s: the program is for %v and needs %v, %v", image, program.Machine, libraries, err)
	}
	name := image[len("localhost/test/"):strings.LastIndex(image, ":")]
	parts, err := os.ReadFile(filepath.Join(b.sbom(), name+"-"+arch+".cdx.json"))
	for _, part := range []string{`"CycloneDX"`, "pkg:golang/std@", imagesVersion, part} {
		if err != nil || !bytes.Contains(parts, []byte(part)) {
			b.t.Errorf("the SBOM of %s lacks %s: %v", image, part, err)
		}
	}
}

// other is the machine that images are made for too.
var other = map[string]string{"amd64": "arm64", "arm64": "amd64"}[runtime.GOARCH]

// standIn makes a source tree whose gateway does nothing, with all that makes
// images of it. To compile the real one for another machine takes more than three
// minutes of a processor, and says no more of deploy/Dockerfile; that there is
// something to compile in every package it needs is seen here.
func standIn(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	list := exec.Command("go", "list", "-deps", "../cmd/...")
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+other)
	if out, err := list.CombinedOutput(); err != nil {
		t.Errorf("for %s: %v: %s", other, err, out)
	}
	dir := t.TempDir()
	for _, part := range []string{"deploy", "scripts"} {
		if err := os.CopyFS(filepath.Join(dir, part), os.DirFS(filepath.Join(root, part))); err != nil {
			t.Fatal(err)
		}
	}
	gateway := filepath.Join(dir, "services", "cmd", "gateway")
	err := os.MkdirAll(gateway, 0o755)
	for path, content := range map[string]string{
		filepath.Join(dir, "services", "go.mod"): "module example.com/services\n\ngo 1.26.0\n",
		filepath.Join(gateway, "main.go"):        "package main\n\nfunc main() {}\n",
	} {
		err = errors.Join(err, os.WriteFile(path, []byte(content), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// image is what buildah tells of one.
type image struct {
	FromImageID string
	OCIv1       struct {
		Architecture string
		Config       struct {
			User       string
			Entrypoint []string
			WorkingDir string
			Env        []string
			Labels     map[string]string
		}
	}
}

func (b *builder) inspect(name string) image {
	b.t.Helper()
	var i image
	if err := json.Unmarshal([]byte(b.run("buildah", "inspect", "--type", "image", name)), &i); err != nil {
		b.t.Fatal(err)
	}
	return i
}

// mount gives where an image's files are.
func (b *builder) mount(image string) string {
	b.t.Helper()
	return b.run("buildah", "mount", b.run("buildah", "from", "--pull-never", image))
}

// start runs an image to its end.
func (b *builder) start(image string, args ...string) *process.Process {
	b.t.Helper()
	p := b.launch(image, "", args...)
	if status := p.Wait(); status != 0 {
		b.t.Errorf("%s %v ended with status %d: %s", image, args, status, p.Stderr())
	}
	return p
}

// launch starts an image as a restricted pod is started, but for the network,
// which is the test's.
func (b *builder) launch(image, admin string, args ...string) *process.Process {
	b.t.Helper()
	i, bundle := b.inspect(image), b.t.TempDir()
	type object = map[string]any
	temporary := func(at, kind string, options ...string) object {
		return object{"destination": at, "type": kind, "source": kind, "options": options}
	}
	spec := object{
		"ociVersion": "1.0.2",
		"process": object{
			"user": object{"uid": 65532, "gid": 65532}, "cwd": i.OCIv1.Config.WorkingDir, "noNewPrivileges": true,
			"args": append(i.OCIv1.Config.Entrypoint, args...), "env": i.OCIv1.Config.Env,
		},
		"root": object{"path": b.mount(image), "readonly": true},
		"mounts": []object{
			temporary("/proc", "proc"),
			temporary("/var/lib/parley", "tmpfs", "nosuid", "nodev", "mode=0700", "uid=65532", "gid=65532"),
		},
		"linux": object{"namespaces": []object{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}}},
	}
	content, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(filepath.Join(bundle, "config.json"), content, 0o600)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	runc, err := exec.LookPath("runc")
	if err != nil {
		runc = "/usr/sbin/runc" // Debian's place, not in everybody's PATH
	}
	name := "parley-" + filepath.Base(filepath.Dir(bundle)) + "-" + filepath.Base(bundle)
	state := filepath.Join(b.dir, "runc")
	p := process.Start(b.t, process.Spec{Program: image, Path: runc, Admin: admin, Args: []string{"--root", state, "run", "--bundle", bundle, name}})
	b.t.Cleanup(func() {
		// What runc has started outlives it.
		_ = exec.Command(runc, "--root", state, "delete", "--force", name).Run() // fails where it is gone
	})
	return p
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
