package e2e

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/parley-im/parley/services/e2e/internal/client"
	"github.com/parley-im/parley/services/e2e/internal/process"
	"github.com/parley-im/parley/services/e2e/internal/stack"
)

// Blocks of shell that are not run by TestProcessDocuments, by their first
// command, and why. All others are, so a new one is run, or is put in here.
var notRun = map[string]string{
	"make run": "builds, and serves the ports that it names until it is stopped; the test starts the same on others",
	"bin/parley bench --scenario fan-out,many-rooms --duration 5s":                                                          "measures for a minute; the tests of services/e2e/bench run it",
	"go build -o bin/ ./services/cmd/parley ./services/examples/...":                                                        "the test has built these",
	"export PARLEY_BACKEND_TOKEN=$(head -c 32 /dev/urandom | base64) PARLEY_HOOK_TOKEN=$(head -c 32 /dev/urandom | base64)": "serves until it is stopped; the test starts the same on other ports",
	"(cd services && go build -o ../bin/ github.com/nats-io/nats-server/v2)":                                                "the test has built it",
	"bin/parley admin drain http://127.0.0.1:9206":                                                                          "ends the gateway; process_admin_test.go does it",
	"parley admin backup --dir /backups/2026-05-01 --nats-url nats://nats-1:4222":                                           "process_backup_test.go backs up and restores",
	"parley admin restore --dir /backups/2026-05-01 --nats-url nats://nats-1:4222 --replicas 3":                             "process_backup_test.go backs up and restores",
	"helm install parley charts/parley --wait":                                                                              "needs a cluster; charts/test runs what it installs",
	"VERSION=0.1.0 make images":                    "needs a cluster; process_images_linux_test.go builds images",
	`kubectl create secret generic parley-trust \`: "needs a cluster",
}

// Blocks of other languages that other tests run, by page and language.
var runElsewhere = map[string]string{
	"pkg/sdk-ts/README.md html":            "browser_client_test.go",
	"pkg/sdk-ts/README.md js":              "pkg/sdk-ts/test/readme.test.js",
	"pkg/sdk-ts/MOVING.md js":              "pkg/sdk-ts/test/readme.test.js",
	"proto/PLAIN.md js":                    "pkg/sdk-ts/test/readme.test.js",
	"pkg/sdk-go/README.md go":              "pkg/sdk-go/example_test.go",
	"charts/parley/README.md yaml":         "values of somebody's cluster; charts/test renders those of charts/parley/ci",
	"proto/testdata/frames/README.md json": "shows how the files there look, which pkg/frame reads",
}

// What some blocks write, by their first command.
var blocksWrite = map[string][]string{
	"curl -f localhost:9090/readyz":                                                 {`"ready": true`, `"token":"`},
	"export PARLEY_USERNAME=alice PARLEY_PASSWORD=secret":                           {"the build is green", `"sessions"`},
	`echo "order-17 shipped" | bin/announce 127.0.0.1:9103 general`:                 {"order-17 is stored: seq ", "order-17 was stored before: seq "},
	"export PARLEY_USERNAME=bob PARLEY_PASSWORD=secret":                             {"bob: well, **** it"},
	"bin/parley admin create-user mallory >/dev/null":                               {"mallory"},
	"bin/nats-server --addr 127.0.0.1 --port 4222 --jetstream --store_dir ./nats &": {"root"},
}

// block is what a page of documentation has between fences.
type block struct{ page, language, text string }

var behindCommand = regexp.MustCompile(`(?m)[ \t]{2,}#.*$`)

// commands is a block without what is said about its commands.
func (b block) commands() string { return behindCommand.ReplaceAllString(b.text, "") }

func (b block) first() string {
	first, _, _ := strings.Cut(b.commands(), "\n")
	return first
}

// documents gives the pages of the repository, by their path in it.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := make(map[string]string)
	root := os.DirFS("../..")
	err := fs.WalkDir(root, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := e.Name()
		if e.IsDir() && (strings.HasPrefix(name, ".") && name != "." || slices.Contains([]string{"node_modules", "dist", "bin", "data", "test-artifacts"}, name) && path != "deploy/data") {
			return fs.SkipDir
		}
		if !e.IsDir() && strings.HasSuffix(name, ".md") {
			text, err := fs.ReadFile(root, path)
			pages[path] = string(text)
			return err
		}
		return nil
	})
	if err != nil || pages["README.md"] == "" {
		t.Fatalf("reading the pages: %v", err)
	}
	return pages
}

var fenced = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func blocksOf(page, text string) (list []block) {
	for _, m := range fenced.FindAllStringSubmatch(text, -1) {
		list = append(list, block{page, m[1], m[2]})
	}
	return list
}

// TestProcessDocuments runs what the README and the guides show: the shell
// against a parley serve, JSON as a client's frames, YAML as settings; and Go is
// code that is compiled.
func TestProcessDocuments(t *testing.T) {
	pages := documents(t)
	d := startDocumented(t)
	ran := make(map[string]bool) // by their commands: what two pages show runs once
	named := make(map[string]bool)
	for page, text := range pages {
		for _, b := range blocksOf(page, text) {
			switch _, elsewhere := runElsewhere[page+" "+b.language]; {
			case b.language == "":
			case elsewhere:
				named[page+" "+b.language] = true
			case b.language == "sh" && notRun[b.first()] != "":
				named[b.first()] = true
			case !ran[b.language+b.commands()]:
				ran[b.language+b.commands()] = true
				t.Run(page+" "+b.first(), func(t *testing.T) { d.try(t, b) })
			}
		}
	}
	for _, list := range []map[string]string{notRun, runElsewhere} {
		for name := range list {
			if !named[name] {
				t.Errorf("no page has the block %q any more", name)
			}
		}
	}
	for first := range blocksWrite {
		if !d.checked[first] {
			t.Errorf("no block that begins with %q was run", first)
		}
	}
	// The two languages show the same.
	ours, theirs := blocksOf("", pages["README.md"]), blocksOf("", pages["README.zh-CN.md"])
	if !slices.EqualFunc(ours, theirs, func(a, b block) bool { return a.language == b.language && a.commands() == b.commands() }) {
		t.Error("README.md and README.zh-CN.md do not have the same blocks")
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?m)(?:^|`)make ([a-z0-9]+)").FindAllStringSubmatch(pages["README.md"]+pages["deploy/README.md"], -1) {
		if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
			t.Errorf("there is no make %s", m[1])
		}
	}
}

// documented is a parley serve as the pages have it, with what is beside it.
type documented struct {
	serving
	programs string
	// addrs are where is served what the pages have at a port.
	addrs   map[string]string
	checked map[string]bool // the first commands of blocks whose output was looked at
}

const hookToken = "the token of a hook"

func startDocumented(t *testing.T) *documented {
	t.Helper()
	d := &documented{programs: filepath.Dir(process.Binary(t, process.Parley)), addrs: make(map[string]string), checked: make(map[string]bool)}
	const examples = "github.com/parley-im/parley/services/examples/"
	if err := process.Build(".", d.programs, examples+"announce", examples+"eventlog", examples+"wordfilter"); err != nil {
		t.Fatal(err)
	}
	for _, port := range []string{"9102", "9103", "9105", "9300"} {
		d.addrs[port] = process.Addr(t)
	}
	process.Start(t, process.Spec{
		Program: "wordfilter", Path: filepath.Join(d.programs, "wordfilter"),
		Args: []string{d.addrs["9300"], "darn"}, Env: []string{"HOOK_TOKEN=" + hookToken},
	})
	process.Eventually(t, recovery, "the hook listens", func() error {
		conn, err := net.Dial("tcp", d.addrs["9300"])
		if err == nil {
			conn.Close()
		}
		return err
	})
	d.serving = serve(t, "PARLEY_BACKEND_TOKEN="+process.BackEndToken, "PARLEY_REGISTRY_ADDR="+d.addrs["9102"],
		"PARLEY_HISTORY_ADDR="+d.addrs["9103"], "PARLEY_EVENTS=on", "PARLEY_EVENTS_ADDR="+d.addrs["9105"],
		"PARLEY_HOOK_ADDR="+d.addrs["9300"], "PARLEY_HOOK_TOKEN="+hookToken, "PARLEY_HOOK_EVENTS=publish")
	d.addrs["8080"], d.addrs["9090"] = strings.TrimPrefix(d.url, "http://"), strings.TrimPrefix(d.Admin, "http://")
	d.WaitReady()
	return d
}

func (d *documented) try(t *testing.T, b block) {
	switch {
	case b.language == "sh" && strings.HasPrefix(b.text, "grpcurl "):
		d.call(t, b)
	case b.language == "sh":
		d.run(t, b)
	case b.language == "json":
		d.speak(t, b)
	case b.language == "yaml":
		d.configure(t, b)
	case b.language == "go":
		compiled(t, b)
	default:
		t.Errorf("nothing runs a block of %s", b.language)
	}
}

var port = regexp.MustCompile(`(?:localhost|127\.0\.0\.1)?:(8080|8081|9090|9[123]\d\d|4222)\b`)

// run runs a block in bash, where bin has the programs and data is that of the
// parley serve. A block that begins with a NATS server is a deployment of its
// own, on ports of its own.
func (d *documented) run(t *testing.T, b block) {
	dir := t.TempDir()
	addrs, names := d.addrs, map[string]string{d.programs: "bin", d.dir: "data"}
	if strings.HasPrefix(b.first(), "bin/nats-server ") {
		addrs, names = make(map[string]string), map[string]string{d.programs: "bin"}
	}
	for target, name := range names {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	at := func(number string) string {
		if addrs[number] == "" {
			addrs[number] = process.Addr(t)
		}
		return addrs[number]
	}
	text := port.ReplaceAllStringFunc(b.text, func(s string) string { return at(s[strings.LastIndex(s, ":")+1:]) })
	text = strings.ReplaceAll(text, "--port 4222", "--port "+at("4222")[len("127.0.0.1:"):])
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	// Into a file: what it leaves running would hold a pipe open.
	written, err := os.Create(filepath.Join(dir, "written"))
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\n"+text)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, written, written
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TERM=dumb", "PARLEY_URL=" + d.url, "PARLEY_BACKEND_TOKEN=" + process.BackEndToken}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Run()
	if cmd.Process != nil {
		endGroup(cmd.Process.Pid)
	}
	out, _ := os.ReadFile(written.Name())
	if err != nil {
		t.Fatalf("%v\n%s\nwrote\n%s", err, text, out)
	}
	for _, want := range blocksWrite[b.first()] {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not write %q:\n%s", want, out)
		}
	}
	d.checked[b.first()] = true
}

// endGroup ends what a shell has left running, and waits until it is gone or
// nobody is there to bury it.
func endGroup(id int) {
	for range 200 {
		if syscall.Kill(-id, syscall.SIGKILL) != nil {
			return
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// speak sends a block as frames, with a token where it has "…"; the one of the
// id 1 is acknowledged.
func (d *documented) speak(t *testing.T, b block) {
	token := stack.Token(t, d.url, "carol")
	c := client.Dial(t, d.url, client.Options{})
	for frame := range strings.Lines(b.text) {
		c.SendText(strings.ReplaceAll(strings.TrimSpace(frame), "…", token))
	}
	if reply := c.Reply("1"); reply.GetAck() == nil {
		t.Errorf("the answer is %v", reply)
	}
}

// configure has parley look at a block as the file that its first line says.
func (d *documented) configure(t *testing.T, b block) {
	name, _, _ := strings.Cut(b.text, ":")
	file := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, out, said := toTheEnd(t, process.Parley, args("config", "check", "--"+name+"-file", file), nil); status != 0 {
		t.Errorf("exit status %d\n%s%s", status, out, said)
	}
}

var grpcurl = regexp.MustCompile(`grpcurl -plaintext -H "authorization: Bearer \$PARLEY_BACKEND_TOKEN" -d '([^']*)' \\\n\s+127\.0\.0\.1:(\d+) (\S+)/(\S+)`)

// call makes the calls of a block as grpcurl, which is not here, would.
func (d *documented) call(t *testing.T, b block) {
	calls := grpcurl.FindAllStringSubmatch(b.text, -1)
	if len(calls) != strings.Count(b.text, "grpcurl") {
		t.Fatalf("not all of it is understood:\n%s", b.text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	defer cancel()
	for _, c := range calls {
		request, port, service, name := c[1], c[2], c[3], c[4]
		found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
		if err != nil {
			t.Fatal(err)
		}
		method := found.(protoreflect.ServiceDescriptor).Methods().ByName(protoreflect.Name(name))
		if method == nil {
			t.Fatalf("%s has no %s", service, name)
		}
		in, out := dynamicpb.NewMessage(method.Input()), dynamicpb.NewMessage(method.Output())
		if err := protojson.Unmarshal([]byte(request), in); err != nil {
			t.Fatalf("%s/%s: %v", service, name, err)
		}
		stream, err := dialGRPC(t, d.addrs[port], process.BackEndToken).NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+service+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(in); err != nil {
			t.Fatal(err)
		}
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(out); err != nil {
			t.Errorf("%s/%s: %v", service, name, err)
		}
	}
}

// compiled wants the lines of a block in a file of the examples, one behind the
// other.
func compiled(t *testing.T, b block) {
	flat := func(text string) string {
		var lines []string
		for line := range strings.Lines(text) {
			lines = append(lines, strings.TrimSpace(line))
		}
		return strings.Join(lines, "\n")
	}
	sources, err := filepath.Glob("../examples/*/main.go")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, path := range sources {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(flat(string(source)), strings.TrimSpace(flat(b.text))) {
			return
		}
	}
	t.Errorf("no example has\n%s", b.text)
}

var (
	linked  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
)

// TestDocumentsLinks follows the links from page to page.
func TestDocumentsLinks(t *testing.T) {
	pages := documents(t)
	anchors := make(map[string]map[string]bool)
	for page, text := range pages {
		anchors[page] = make(map[string]bool)
		for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			anchors[page][anchor(m[1])] = true
		}
	}
	for page, text := range pages {
		for _, m := range linked.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, part, _ := strings.Cut(m[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s: there is no %s", page, m[1])
			} else if part != "" && !anchors[to][part] {
				t.Errorf("%s: %s has no %q", page, to, part)
			}
		}
	}
	for _, page := range []string{"README.md", "README.zh-CN.md"} {
		for _, guide := range []string{"services/examples/README.md", "services/auth/IDENTITY.md", "deploy/README.md", "deploy/UPGRADE.md", "pkg/sdk-ts/MOVING.md"} {
			if !strings.Contains(pages[page], fmt.Sprintf("](%s)", guide)) {
				t.Errorf("%s does not lead to %s", page, guide)
			}
		}
	}
}

// anchor is what a heading is called in addresses, as GitHub does it.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}
