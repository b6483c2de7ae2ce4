// Package e2e tests the whole product as its users meet it: over real sockets,
// in a browser, and as operating-system processes that are killed and started
// again. It may know every part in order to start it, and judges by what comes
// out at the ends alone: frames, pages, exit statuses and logs.
package e2e
