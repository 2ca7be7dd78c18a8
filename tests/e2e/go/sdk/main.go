// Calls a model with a real client library: sdk MODE [N].
//
// Prints a line of JSON for each reply, as the library gave it: id, text and tokens. With
// STEPPED set, it says so and waits for a line on standard input first.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

const prompt = "Grüße an 漢字 🦀"

var key = os.Getenv("CANARY")

var output sync.Mutex

func say(id, text string, input, generated int64) {
	line, err := json.Marshal(map[string]any{
		"id": id, "text": text, "input": input, "output": generated,
	})
	check(err)
	output.Lock()
	defer output.Unlock()
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Fields that tell the test server how to answer.
func fields() map[string]string {
	wanted := map[string]string{}
	if text := os.Getenv("FIELDS"); text != "" {
		check(json.Unmarshal([]byte(text), &wanted))
	}
	return wanted
}

func openaiClient() openai.Client {
	options := []option.RequestOption{option.WithAPIKey(key), option.WithMaxRetries(0)}
	for name, value := range fields() {
		options = append(options, option.WithHeader(name, value))
	}
	return openai.NewClient(options...)
}

func chat() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    "gpt-4o-mini",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(prompt)},
	}
}

func openaiOne() {
	client := openaiClient()
	reply, err := client.Chat.Completions.New(context.Background(), chat())
	check(err)
	say(reply.ID, reply.Choices[0].Message.Content, reply.Usage.PromptTokens, reply.Usage.CompletionTokens)
}

func openaiStream() {
	client := openaiClient()
	asked := chat()
	asked.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := client.Chat.Completions.NewStreaming(context.Background(), asked)
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	check(stream.Err())
	say(whole.ID, whole.Choices[0].Message.Content, whole.Usage.PromptTokens, whole.Usage.CompletionTokens)
}

func bedrockClient() *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region:       "us-east-1",
		BaseEndpoint: aws.String(strings.TrimSuffix(os.Getenv("OPENAI_BASE_URL"), "/v1")),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIACANARYCANARYCANA", SecretAccessKey: key}, nil
		}),
		RetryMaxAttempts: 1,
	})
}

var (
	claude   = aws.String("eu.anthropic.claude-sonnet-5-v1:0")
	question = []types.Message{{
		Role:    types.ConversationRoleUser,
		Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: prompt}},
	}}
	brief = &types.InferenceConfiguration{MaxTokens: aws.Int32(64)}
)

func bedrockOne() {
	reply, err := bedrockClient().Converse(context.Background(),
		&bedrockruntime.ConverseInput{ModelId: claude, Messages: question, InferenceConfig: brief})
	check(err)
	message := reply.Output.(*types.ConverseOutputMemberMessage).Value
	text := message.Content[0].(*types.ContentBlockMemberText).Value
	say("", text, int64(*reply.Usage.InputTokens), int64(*reply.Usage.OutputTokens))
}

func bedrockStream() {
	reply, err := bedrockClient().ConverseStream(context.Background(),
		&bedrockruntime.ConverseStreamInput{ModelId: claude, Messages: question, InferenceConfig: brief})
	check(err)
	var text string
	var used types.TokenUsage
	stream := reply.GetStream()
	for event := range stream.Events() {
		switch event := event.(type) {
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			text += event.Value.Delta.(*types.ContentBlockDeltaMemberText).Value
		case *types.ConverseStreamOutputMemberMetadata:
			used = *event.Value.Usage
		}
	}
	check(stream.Err())
	say("", text, int64(*used.InputTokens), int64(*used.OutputTokens))
}

func main() {
	n := 1
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	mode := map[string]func(){
		"openai": openaiOne, "openai_stream": openaiStream,
		"bedrock": bedrockOne, "bedrock_stream": bedrockStream,
	}[os.Args[1]]
	if os.Getenv("STEPPED") != "" {
		fmt.Println("waits")
		_, err := bufio.NewReader(os.Stdin).ReadString('\n')
		check(err)
	}
	var all sync.WaitGroup
	for range n {
		all.Go(mode)
	}
	all.Wait()
}
