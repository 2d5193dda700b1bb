// The Collector's cumulativetodelta and deltatocumulative processors as a filter.
//
// Usage: collector (cumulativetodelta | deltatocumulative) < requests > results
//
// Both are OTLP metric requests in protobuf, each after its size in 4 bytes, big-endian. For each
// request there is one result: what the processor passes on, or an empty request.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/cumulativetodeltaprocessor"
	"github.com/open-telemetry/opentelemetry-collector-contrib/processor/deltatocumulativeprocessor"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"go.opentelemetry.io/collector/processor"
	"go.opentelemetry.io/collector/processor/processortest"
)

var factories = map[string]func() processor.Factory{
	"cumulativetodelta": cumulativetodeltaprocessor.NewFactory,
	"deltatocumulative": deltatocumulativeprocessor.NewFactory,
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run(words []string, in io.Reader, out io.Writer) error {
	if len(words) != 1 || factories[words[0]] == nil {
		return errors.New("say cumulativetodelta or deltatocumulative")
	}
	ctx, factory, sink := context.Background(), factories[words[0]](), new(consumertest.MetricsSink)
	settings := processortest.NewNopSettings(factory.Type())
	running, err := factory.CreateMetrics(ctx, settings, factory.CreateDefaultConfig(), sink)
	if err != nil {
		return err
	}
	if err := running.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	reader, writer := bufio.NewReader(in), bufio.NewWriter(out)
	for {
		body, err := frame(reader)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		request := pmetricotlp.NewExportRequest()
		if err := request.UnmarshalProto(body); err != nil {
			return err
		}
		sink.Reset()
		if err := running.ConsumeMetrics(ctx, request.Metrics()); err != nil {
			return err
		}
		result := pmetricotlp.NewExportRequest()
		for _, metrics := range sink.AllMetrics() {
			metrics.ResourceMetrics().MoveAndAppendTo(result.Metrics().ResourceMetrics())
		}
		passed, err := result.MarshalProto()
		if err != nil {
			return err
		}
		if err := binary.Write(writer, binary.BigEndian, uint32(len(passed))); err != nil {
			return err
		}
		if _, err := writer.Write(passed); err != nil {
			return err
		}
	}
	if err := writer.Flush(); err != nil {
		return err
	}
	return running.Shutdown(ctx)
}

func frame(reader *bufio.Reader) ([]byte, error) {
	var size uint32
	if err := binary.Read(reader, binary.BigEndian, &size); err != nil {
		return nil, err
	}
	body := make([]byte, size)
	_, err := io.ReadFull(reader, body)
	return body, err
}
