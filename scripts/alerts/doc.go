// Package alerts tests the rules of deploy/alerts and the queries of
// deploy/grafana: it reads them as Prometheus does, and puts series before its
// query engine. It is a module of its own, for nothing else here needs
// Prometheus; of that it takes the parser and the engine, which build within a
// minute, where promtool with all that it can scrape takes many.
package alerts
