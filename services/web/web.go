// Package web is the demo application: the page that a browser gets from a
// gateway's root address, embedded in the binary; and the status page that an
// operator gets from its admin port.
//
// It owns the files under assets and status and how they are served: which addresses
// exist, their types, their caching and the security headers. It must not
// know the wire protocol (that is between the page's scripts and the
// gateway), nor read anything from disk, nor keep state.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/parley-im/parley/pkg/headers"
)

//go:embed assets parley.js
var files embed.FS

// client is the TypeScript client of pkg/sdk-ts as one minified module, which
// make gen writes. It is at /parley.js.
const client = "parley.js"

// page is the file that the root address serves; it has no other address.
const page = "assets/index.html"

// contentSecurityPolicy lets the page load its own files and talk to its own
// host, and nothing else: no inline script or style, no frames, no forms that
// leave the page. 'self' in connect-src covers ws: and wss: of the same host
// (CSP Level 3, 6.7.2.8). Trusted Types make a browser refuse every attempt to
// turn a string into HTML.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; " +
	"img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; " +
	"form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// contentTypes are the kinds of file that assets may hold. The list is our own
// because mime.TypeByExtension answers differently from machine to machine.
var contentTypes = map[string]string{
	".html":  "text/html; charset=utf-8",
	".css":   "text/css; charset=utf-8",
	".js":    "text/javascript; charset=utf-8",
	".svg":   "image/svg+xml",
	".png":   "image/png",
	".woff2": "font/woff2",
}

// asset is one file as it is served.
type asset struct {
	body        []byte
	contentType string
	etag        string
	// anywhere: pages of other origins may load it.
	anywhere bool
}

// Handler serves the application, GET and HEAD of / and of the files under
// /assets/, and the client for other pages, /parley.js. Addresses are matched exactly against the embedded files, so a
// path that is not one of them, however it is spelled, is 404; other methods
// are 405. It panics if a file has no known content type, which only a defect
// of the build can bring about.
func Handler() http.Handler {
	return serve(load(files, page, ""), nil)
}

// serve answers GET and HEAD with assets, and asks others, where there are any,
// for what is none of them.
func serve(assets map[string]asset, others map[string]http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
			return
		}
		if other := others[r.URL.Path]; other != nil {
			other(w, r)
			return
		}
		a, ok := assets[r.URL.Path]
		if !ok {
			http.Error(w, "not found", http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", a.contentType)
		w.Header().Set("ETag", a.etag)
		if a.anywhere {
			// It is public code, and a module is loaded with CORS always. Which
			// origins may open a socket is not decided here.
			w.Header().Set("Access-Control-Allow-Origin", "*")
			w.Header().Set("Cross-Origin-Resource-Policy", "cross-origin")
		}
		// The zero time leaves Last-Modified out: an embedded file has none.
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}

// load reads every embedded file and gives it its address: below root, and "/"
// for the page. It panics where a file cannot be served.
func load(from fs.FS, page, root string) map[string]asset {
	assets := make(map[string]asset)
	err := fs.WalkDir(from, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		contentType, ok := contentTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("no content type for %s", name)
		}
		body, err := fs.ReadFile(from, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		sum := sha256.Sum256(body)
		address := "/" + strings.TrimPrefix(name, root)
		if name == page {
			address = "/"
		}
		assets[address] = asset{
			body:        body,
			contentType: contentType,
			etag:        `"` + hex.EncodeToString(sum[:12]) + `"`,
			anywhere:    name == client,
		}
		return nil
	})
	if err != nil {
		panic(fmt.Sprintf("web: %v", err))
	}
	return assets
}

// setHeaders sets what every answer carries, refusals included.
func setHeaders(h http.Header) {
	headers.Guard(h, contentSecurityPolicy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()")
	// Ask each time, and get a short 304 while the file is the same: after an
	// upgrade no page may mix old scripts with new ones.
	h.Set("Cache-Control", "no-cache")
}
