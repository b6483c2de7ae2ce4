package conn

// Code is a WebSocket close code. By its range a client knows what to do
// (PROTOCOL.md, section 6).
type Code int

// The codes that a gateway sends, or that stand for how a connection ended.
const (
	Normal         Code = 1000
	GoingAway      Code = 1001
	WrongKind      Code = 1003 // a binary frame on the JSON subprotocol, or the reverse
	NoCode         Code = 1005 // the peer's close frame had none; never sent
	Abnormal       Code = 1006 // no close frame came; never sent
	InvalidUTF8    Code = 1007
	Policy         Code = 1008
	TooBig         Code = 1009
	InternalError  Code = 1011
	Overloaded     Code = 1013
	SessionRevoked Code = 4001
	Disabled       Code = 4003
	SlowConsumer   Code = 4102
	TooMany        Code = 4103
	Reconnect      Code = 4200
	NoPong         Code = 4201
	TokenExpired   Code = 4203
)
