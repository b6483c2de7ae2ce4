// Reads the licences of what Parley is built of, apart from the other modules
// because nothing else needs its library.
module github.com/parley-im/parley/scripts/licenses

go 1.26.0

require github.com/google/licensecheck v0.3.1
