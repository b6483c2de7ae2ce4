// Command sbom writes what a Go program is made of, as CycloneDX in JSON: the
// modules that the linker put into it and the Go it was built with, with the sums
// by which a module proxy knows them.
//
//	sbom -name parley-gateway -version v1.2.3 PROGRAM > gateway.cdx.json
//
// It reads the program itself, so it says what is in it and not what was meant to
// be. Tools that do the same compile for minutes, for licenses that are not asked
// for here.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	name := flag.String("name", "", "what the program is called")
	version := flag.String("version", "", "the program's version")
	flag.Parse()
	if err := write(os.Stdout, *name, *version, flag.Arg(0)); err != nil {
		fmt.Fprintf(os.Stderr, "sbom: %v\n", err)
		os.Exit(1)
	}
}

func write(w io.Writer, name, version, path string) error {
	if name == "" || version == "" {
		return errors.New("needs -name and -version")
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading what %s was built of: %w", path, err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the program: %w", err)
	}
	sum := sha256.Sum256(content)

	at := purl(info.Main.Path, version)
	if folder, ok := strings.CutPrefix(info.Path, info.Main.Path+"/"); ok {
		at += "#" + folder
	}
	program := cdx.Component{
		BOMRef: at, Type: cdx.ComponentTypeApplication, Name: name, Version: version, PackageURL: at,
		Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}
	components := []cdx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, m := range info.Deps {
		c, err := module(m, version)
		if err != nil {
			return err
		}
		components = append(components, c)
	}
	refs := make([]string, len(components))
	for i, c := range components {
		refs[i] = c.BOMRef
	}

	bom := cdx.NewBOM()
	// Of the program's own bytes: the same program has the same.
	bom.SerialNumber = fmt.Sprintf("urn:uuid:%x-%x-8%s-8%s-%x", sum[:4], sum[4:6], hex.EncodeToString(sum[6:8])[1:], hex.EncodeToString(sum[8:10])[1:], sum[10:16])
	bom.Metadata = &cdx.Metadata{
		Timestamp: time.Now().UTC().Format(time.RFC3339), Component: &program, Properties: settings(info),
		Supplier: &cdx.OrganizationalEntity{Name: "Parley"},
	}
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: program.BOMRef, Dependencies: &refs}}
	return cdx.NewBOMEncoder(w, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cdx.SpecVersion1_6)
}

// module is a module of the program; own is the version of those that are in this
// repository.
func module(m *debug.Module, own string) (cdx.Component, error) {
	path := m.Path
	if m.Replace != nil {
		m = m.Replace
	}
	if m.Sum == "" { // a folder of this repository
		return library(path, own, ""), nil
	}
	// A hash of all its files: SHA-256, which Go writes in base64 behind "h1:".
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:"))
	if err != nil || len(sum) != sha256.Size {
		return cdx.Component{}, fmt.Errorf("%s has the sum %q, which is none", m.Path, m.Sum)
	}
	return library(m.Path, m.Version, hex.EncodeToString(sum)), nil
}

func library(path, version, sum string) cdx.Component {
	c := cdx.Component{
		BOMRef: purl(path, version), Type: cdx.ComponentTypeLibrary, Name: path, Version: version, PackageURL: purl(path, version), Scope: cdx.ScopeRequired,
	}
	if sum != "" {
		c.Hashes = &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}}
	}
	return c
}

// purl is a module's package URL.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + strings.ReplaceAll(version, "+", "%2B")
}

// settings are those of the build that change what comes of it, by the names that
// CycloneDX knows them by.
func settings(info *debug.BuildInfo) *[]cdx.Property {
	var properties []cdx.Property
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "GOAMD64", "GOARM64", "CGO_ENABLED", "GOFIPS140":
			properties = append(properties, cdx.Property{Name: "cdx:gomod:build:env:" + s.Key, Value: s.Value})
		}
	}
	return &properties
}
