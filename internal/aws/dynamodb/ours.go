package dynamodb

import (
	"context"
	"fmt"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// What is true of an engine that does not know of point-in-time recovery, global tables,
// contributor insights, Kinesis, exports and imports: there are none, and none can be made.

// notOf says of an engine that it has no such thing, to whom asks to have it.
func notOf(what string) error {
	return &wire.Error{Code: "NotImplemented", Status: 501, Message: fmt.Sprintf("The DynamoDB engine of iamd has no %s.", what)}
}

func (s *Service) describeLimits(context.Context, *service.Call, *api.DescribeLimitsInput) (*api.DescribeLimitsOutput, error) {
	// The quotas of a new account: Developer Guide, "Quotas in Amazon DynamoDB".
	return &api.DescribeLimitsOutput{AccountMaxReadCapacityUnits: 80_000, AccountMaxWriteCapacityUnits: 80_000,
		TableMaxReadCapacityUnits: 40_000, TableMaxWriteCapacityUnits: 40_000}, nil
}

func (s *Service) describeEndpoints(_ context.Context, c *service.Call, _ *api.DescribeEndpointsInput) (*api.DescribeEndpointsOutput, error) {
	return &api.DescribeEndpointsOutput{Endpoints: []api.Endpoint{{Address: c.Source.Host, CachePeriodInMinutes: 1440}}}, nil
}

// tableThere is nil if there is the table that a call names by name or ARN.
func (s *Service) tableThere(ctx context.Context, c *service.Call, table string) error {
	_, err := s.describe(ctx, arn.ARN(tableARN(c, table)))
	return err
}

// backupsTable is tableThere in the words of the operations on backups.
func (s *Service) backupsTable(ctx context.Context, c *service.Call, table string) error {
	err := s.tableThere(ctx, c, table)
	if e, ok := err.(*wire.Error); ok && e.Code == "ResourceNotFoundException" {
		return api.TableNotFound("Table not found: %s", nameOf(table))
	}
	return err
}

// noRecovery is what holds of a table of which on-demand backups can be made, and nothing more.
var noRecovery = &api.ContinuousBackupsDescription{ContinuousBackupsStatus: "ENABLED",
	PointInTimeRecoveryDescription: &api.PointInTimeRecoveryDescription{PointInTimeRecoveryStatus: "DISABLED"}}

func (s *Service) describeContinuousBackups(ctx context.Context, c *service.Call, in *api.DescribeContinuousBackupsInput) (*api.DescribeContinuousBackupsOutput, error) {
	return &api.DescribeContinuousBackupsOutput{ContinuousBackupsDescription: noRecovery}, s.backupsTable(ctx, c, in.TableName)
}

func (s *Service) updateContinuousBackups(ctx context.Context, c *service.Call, in *api.UpdateContinuousBackupsInput) (*api.UpdateContinuousBackupsOutput, error) {
	if err := s.backupsTable(ctx, c, in.TableName); err != nil {
		return nil, err
	}
	if in.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled {
		return nil, notOf("point-in-time recovery: CreateBackup makes a backup")
	}
	return &api.UpdateContinuousBackupsOutput{ContinuousBackupsDescription: noRecovery}, nil
}

func noGlobalTable(name string) error {
	return api.GlobalTableNotFound("Global table not found: Global table with name: '%s' does not exist.", name)
}

func (s *Service) describeGlobalTable(_ context.Context, _ *service.Call, in *api.DescribeGlobalTableInput) (*api.DescribeGlobalTableOutput, error) {
	return nil, noGlobalTable(in.GlobalTableName)
}

func (s *Service) describeGlobalTableSettings(_ context.Context, _ *service.Call, in *api.DescribeGlobalTableSettingsInput) (*api.DescribeGlobalTableSettingsOutput, error) {
	return nil, noGlobalTable(in.GlobalTableName)
}

func (s *Service) listGlobalTables(context.Context, *service.Call, *api.ListGlobalTablesInput) (*api.ListGlobalTablesOutput, error) {
	return &api.ListGlobalTablesOutput{GlobalTables: []api.GlobalTable{}}, nil
}

func (s *Service) describeContributorInsights(ctx context.Context, c *service.Call, in *api.DescribeContributorInsightsInput) (*api.DescribeContributorInsightsOutput, error) {
	return &api.DescribeContributorInsightsOutput{TableName: nameOf(in.TableName), IndexName: in.IndexName, ContributorInsightsStatus: "DISABLED"},
		s.tableThere(ctx, c, in.TableName)
}

func (s *Service) updateContributorInsights(ctx context.Context, c *service.Call, in *api.UpdateContributorInsightsInput) (*api.UpdateContributorInsightsOutput, error) {
	if err := s.tableThere(ctx, c, in.TableName); err != nil {
		return nil, err
	}
	if in.ContributorInsightsAction != "DISABLE" {
		return nil, notOf("contributor insights")
	}
	return &api.UpdateContributorInsightsOutput{TableName: nameOf(in.TableName), IndexName: in.IndexName, ContributorInsightsStatus: "DISABLED"}, nil
}

func (s *Service) listContributorInsights(context.Context, *service.Call, *api.ListContributorInsightsInput) (*api.ListContributorInsightsOutput, error) {
	return &api.ListContributorInsightsOutput{ContributorInsightsSummaries: []api.ContributorInsightsSummary{}}, nil
}

func (s *Service) describeKinesisStreamingDestination(ctx context.Context, c *service.Call, in *api.DescribeKinesisStreamingDestinationInput) (*api.DescribeKinesisStreamingDestinationOutput, error) {
	return &api.DescribeKinesisStreamingDestinationOutput{TableName: nameOf(in.TableName), KinesisDataStreamDestinations: []api.KinesisDataStreamDestination{}},
		s.tableThere(ctx, c, in.TableName)
}

func (s *Service) describeExport(_ context.Context, _ *service.Call, in *api.DescribeExportInput) (*api.DescribeExportOutput, error) {
	return nil, api.ExportNotFound("Export not found: %s", in.ExportArn)
}

func (s *Service) listExports(context.Context, *service.Call, *api.ListExportsInput) (*api.ListExportsOutput, error) {
	return &api.ListExportsOutput{ExportSummaries: []api.ExportSummary{}}, nil
}

func (s *Service) describeImport(_ context.Context, _ *service.Call, in *api.DescribeImportInput) (*api.DescribeImportOutput, error) {
	return nil, api.ImportNotFound("Import not found: %s", in.ImportArn)
}

func (s *Service) listImports(context.Context, *service.Call, *api.ListImportsInput) (*api.ListImportsOutput, error) {
	return &api.ListImportsOutput{ImportSummaryList: []api.ImportSummary{}}, nil
}
