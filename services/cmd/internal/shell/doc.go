// Package shell is what the commands of the parley program share towards the
// shell that they are typed in: exit statuses, arguments, and text that comes from
// strangers and goes to a terminal. It knows no deployment.
package shell
