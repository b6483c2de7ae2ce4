// Package talk is what people and scripts do in rooms from a shell: parley chat,
// tail, send, rooms, users and token. It is built on the Go client (pkg/sdk-go),
// which deals with everything that can happen to a connection.
//
// To add a command, write a function like [Send] in a file of its own and give it a
// line in the program's list. Where the deployment is, and as whom, is account.go;
// how an entry of a room is written, line.go.
package talk
