// Package api holds what travels on the wire of Systems Manager: a struct for each input
// and output of the operations that iamd serves and the shapes that they are made of, a
// constructor for each error, and Model, the table of operations. It is generated from
// AWS's model of the service; package wire reads the tags, and the comment of
// internal/apigen says what they mean.
//
// In inputs, a pointer is nil, a string empty and a slice nil where the caller gave
// nothing. In outputs, what is zero is left out of the answer.
package api

//go:generate go run github.com/iamd-dev/iamd/internal/apigen -model ssm-2014-11-06 -ops AddTagsToResource,CancelCommand,DeleteParameter,DeleteParameters,DescribeDocument,DescribeInstanceInformation,DescribeParameters,DescribeSessions,GetCommandInvocation,GetConnectionStatus,GetDocument,GetParameter,GetParameterHistory,GetParameters,GetParametersByPath,LabelParameterVersion,ListCommandInvocations,ListCommands,ListDocuments,ListTagsForResource,PutParameter,RemoveTagsFromResource,ResumeSession,SendCommand,StartSession,TerminateSession,UnlabelParameterVersion,UpdateInstanceInformation -o api_gen.go
