// Package report is the page ../REPORT.md: what was broken on purpose, what the
// delivery checker (services/e2e/check) found while it was, and what nobody
// tried.
//
// The figures are in ../REPORT.json, which `make report` (command write) takes
// from a run of services/e2e/faults and from tests that try one thing each. The
// page is what Page makes of them and of page.md.tmpl, where its words are, so
// that no figure is ever typed: a test holds the two together, and another wants
// every fault of services/e2e/faults on the page.
package report
