// Package alerts tests the rules of deploy/alerts: it reads them as Prometheus
// does and puts series before its query engine. It is a module of its own, for
// nothing else here needs Prometheus; of that it takes the parser and the
// engine, which build in half a minute, where promtool with all that it can
// scrape takes many.
package alerts
