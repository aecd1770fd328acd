package wire

type routes struct{}
