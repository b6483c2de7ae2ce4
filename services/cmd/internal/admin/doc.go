// Package admin is parley admin: what operators ask of a running deployment, one
// command for each thing, over the same gRPC APIs that back ends use.
//
// To add a command, write a function like [createInvite] in the file of its
// subject: it registers the command's own flags and returns what the command
// does. Then give it a line in [commands]. How a service is reached, which
// arguments there are, --json, help and errors are dealt with around it.
//
// [natsCommands] are the exception: they save and restore what NATS keeps, whether
// or not a service runs.
//
// The package decides nothing: who may do what, and what is a good name, a
// service says.
package admin
