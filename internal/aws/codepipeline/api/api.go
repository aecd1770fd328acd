// Package api holds what travels on the wire of CodePipeline: a struct for each input
// and output and the shapes that they are made of, a constructor for each error, and
// Model, the table of operations. It is generated from AWS's model of the service;
// package wire reads the tags, and the comment of internal/apigen says what they mean.
//
// In inputs, a pointer is nil, a string empty and a slice nil where the caller gave
// nothing. In outputs, what is zero is left out of the answer.
package api

//go:generate go run github.com/iamd-dev/iamd/internal/apigen -model codepipeline-2015-07-09 -ops CreatePipeline,DeletePipeline,DisableStageTransition,EnableStageTransition,GetPipeline,GetPipelineExecution,GetPipelineState,ListActionExecutions,ListPipelineExecutions,ListPipelines,ListTagsForResource,PutApprovalResult,PutJobFailureResult,PutJobSuccessResult,RetryStageExecution,StartPipelineExecution,StopPipelineExecution,TagResource,UntagResource,UpdatePipeline -o api_gen.go
