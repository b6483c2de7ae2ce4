// Package hostile attacks a real Parley process, as deploy/SECURITY.md describes
// it, while two well-behaved clients chat: they lose nothing, and what the
// attack took is given back.
//
// PARLEY_HOSTILE=full makes the attacks as large as they are bounded to be
// (`make hostile`); a new one is a row in TestHostile.
package hostile
