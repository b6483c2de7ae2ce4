package access

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v4"

	"github.com/parley-im/parley/pkg/secret"
)

// maxCallers bounds a file of callers.
const maxCallers = 1000

// entry is one caller of a file. It has a token, or the token's SHA-256 in
// hexadecimal (sha256sum writes it), or the name of a client certificate.
type entry struct {
	Name        string   `yaml:"name"`
	Token       string   `yaml:"token"`
	TokenSHA256 string   `yaml:"token-sha256"`
	Certificate string   `yaml:"certificate"`
	Scopes      []string `yaml:"scopes"`
}

// ParseCallers says what is wrong with a file of callers:
//
//	callers:
//	  - name: shop                # what the log calls it
//	    token: …                  # at least 16 characters
//	    scopes: [publish, read]
//	  - name: billing
//	    token-sha256: …           # of a token that is not written here
//	    scopes: [read]
//	  - name: console
//	    certificate: console.internal
//	    scopes: [admin]
//
// The scopes are admin, publish, read, rooms and users; admin has the others.
// A name may stand there twice, for a token that is being replaced.
func ParseCallers(file []byte) error {
	_, err := parseCallers(file)
	return err
}

func parseCallers(file []byte) (callers, error) {
	var document struct {
		Callers []entry `yaml:"callers"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(file))
	decoder.KnownFields(true)
	if err := decoder.Decode(&document); err != nil && !errors.Is(err, io.EOF) {
		return callers{}, errors.New(secret.Unquoted(err))
	}
	if len(document.Callers) > maxCallers {
		return callers{}, fmt.Errorf("more than %d callers", maxCallers)
	}
	c := callers{tokens: make(map[[sha256.Size]byte]Caller), certificates: make(map[string]Caller)}
	for i, e := range document.Callers {
		if err := c.add(e); err != nil {
			return callers{}, fmt.Errorf("caller %d (%q): %w", i+1, e.Name, err)
		}
	}
	return c, nil
}

func (c callers) add(e entry) error {
	if e.Name == "" || len(e.Name) > 64 {
		return errors.New("name: not 1 to 64 bytes")
	}
	var scopes []Scope
	for _, name := range e.Scopes {
		scope, err := parseScope(name)
		if err != nil {
			return fmt.Errorf("scopes: %w", err)
		}
		scopes = append(scopes, scope)
	}
	if len(scopes) == 0 {
		return errors.New("scopes: none")
	}
	given := 0
	for _, proof := range []string{e.Token, e.TokenSHA256, e.Certificate} {
		if proof != "" {
			given++
		}
	}
	if given != 1 {
		return errors.New("want one of token, token-sha256 and certificate")
	}
	who := backEnd(e.Name, scopes)
	if e.Certificate != "" {
		if _, twice := c.certificates[e.Certificate]; twice {
			return errors.New("certificate: another caller has it")
		}
		c.certificates[e.Certificate] = who
		return nil
	}
	hash := sha256.Sum256([]byte(e.Token))
	switch {
	case e.TokenSHA256 != "":
		decoded, err := hex.DecodeString(e.TokenSHA256)
		if err != nil || len(decoded) != len(hash) {
			return errors.New("token-sha256: not 64 hexadecimal digits")
		}
		hash = [sha256.Size]byte(decoded)
	case len(e.Token) < MinToken:
		return fmt.Errorf("token: shorter than %d characters, which can be guessed", MinToken)
	}
	if _, twice := c.tokens[hash]; twice {
		return errors.New("token: another caller has it")
	}
	c.tokens[hash] = who
	return nil
}
