package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"strings"
	"text/template"
	"time"

	"github.com/parley-im/parley/services/e2e/check"
)

//go:embed page.md.tmpl
var words string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"n": thousands, "d": short, "pair": pair, "delays": delays, "cell": cell, "outcome": outcome, "join": strings.Join, "tenth": tenth, "promises": func() []promise { return promises },
}).Parse(words))

// Page is the report for people, in Markdown.
func Page(r *Report) ([]byte, error) {
	var b bytes.Buffer
	if err := page.Execute(&b, r); err != nil {
		return nil, fmt.Errorf("the page: %w", err)
	}
	return b.Bytes(), nil
}

// promise says what one kind of violation would be.
type promise struct {
	Kind  check.Kind
	Means string
}

var promises = []promise{
	{check.Lost, "acknowledged, and missing in the log or for a member"},
	{check.Duplicated, "delivered twice to a member, or stored twice under one id"},
	{check.Reordered, "delivered after a newer one, or in another order than the log's"},
	{check.Hole, "a live message's `prev` is newer than what came before it, or something stored did not come"},
	{check.Phantom, "delivered, and not in the log"},
	{check.Changed, "came with another content, author, `seq` or epoch than before"},
	{check.NotRecovered, "a client was told `recovered:false` though the log still had everything"},
	{check.Late, "came to a connected member only when it reconnected"},
	{check.Refused, "a client was sent away, or a request refused, without a reason that a client has to expect"},
}

// thousands writes a number of any kind of integer.
func thousands(v any) string {
	s := fmt.Sprint(v)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func short(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d >= time.Minute && d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return check.Short(d)
}

func pair(s Spread) string { return short(s.P50) + " / " + short(s.Max) }

func delays(d check.Delays) string {
	if d.Count == 0 {
		return ""
	}
	return short(d.P50) + " / " + short(d.P99) + " / " + short(d.Max)
}

// cell keeps a text within one cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

// outcome is what became of a test, in words that are not overlooked.
func outcome(of string) string {
	switch of {
	case "pass":
		return "passed"
	case "skip":
		return "skipped"
	}
	return "**FAILED**"
}
