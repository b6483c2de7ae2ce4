// Package structure keeps the walls between Parley's packages: which may import
// which, that each says what it is for, and that no file outgrows a reader. It is
// a test and nothing else, and reads the whole workspace as the go command lists
// it; it knows packages by their path and never what they do.
package structure
