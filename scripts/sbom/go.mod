// Writes the lists of parts (SBOM) of images, apart from the other modules
// because nothing else needs its library.
module github.com/parley-im/parley/scripts/sbom

go 1.26.0

require github.com/CycloneDX/cyclonedx-go v0.12.0
