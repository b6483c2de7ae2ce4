// Package run is the life of a program: how it is started, told to stop, and in which order its parts end.
//
// [Main] is what a program's main function calls: it turns SIGTERM and Ctrl-C into the end of a context, and an error
// into lines on stderr and an exit status. [Group] runs parts that live and die together. [Parts] runs parts that need
// one another: started in order, stopped in reverse, within a grace period.
//
// A part is a function func(ctx context.Context) error that returns after its context has ended and everything it
// started has ended too; it returns nil, or the context's error, when all went well.
//
// The package owns signals and exit statuses; nothing else in the program may call os.Exit or signal.Notify. It must
// not know any service.
package run
