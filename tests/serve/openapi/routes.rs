//! The description has the operations of its server, and no others.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::json;

use super::{Operation, described, operations, with_end, with_keys};
use crate::{
    schema::check,
    served::{Served, local, real},
};

/// What a server has by default.
const OPERATIONS: [&str; 47] = [
    "GET /",
    "GET /docs",
    "GET /docs.css",
    "GET /docs.js",
    "GET /health",
    "GET /info",
    "GET /live",
    "GET /metrics",
    "GET /openapi.json",
    "GET /page.css",
    "GET /page.js",
    "GET /ready",
    "GET /startup",
    "GET /v1/models",
    "GET /v2",
    "GET /v2/",
    "GET /v2/health/live",
    "GET /v2/health/ready",
    "GET /v2/models/{model}",
    "GET /v2/models/{model}/config",
    "GET /v2/models/{model}/ready",
    "GET /v2/models/{model}/versions/{version}",
    "GET /v2/models/{model}/versions/{version}/config",
    "GET /v2/models/{model}/versions/{version}/ready",
    "POST /",
    "POST /admin/reload",
    "POST /classify",
    "POST /get_reward",
    "POST /grpc.health.v1.Health/Check",
    "POST /inference.GRPCInferenceService/ModelConfig",
    "POST /inference.GRPCInferenceService/ModelInfer",
    "POST /inference.GRPCInferenceService/ModelMetadata",
    "POST /inference.GRPCInferenceService/ModelReady",
    "POST /inference.GRPCInferenceService/RepositoryIndex",
    "POST /inference.GRPCInferenceService/ServerLive",
    "POST /inference.GRPCInferenceService/ServerMetadata",
    "POST /inference.GRPCInferenceService/ServerReady",
    "POST /pooling",
    "POST /predict",
    "POST /rerank",
    "POST /v1/chat/completions",
    "POST /v1/compare",
    "POST /v1/embeddings",
    "POST /v1/rank",
    "POST /v1/render",
    "POST /v1/score",
    "POST /v2/models/{model}/infer",
];

#[test]
fn every_route_is_described_and_every_operation_exists() {
    let served = Served::start(with_keys(local()), vec![real("pm")]);
    let document = described(&served);
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    let names: BTreeSet<String> = operations.iter().map(Operation::name).collect();
    let mut expected: BTreeSet<String> = OPERATIONS.map(str::to_owned).into();
    expected.insert("POST /v2/models/{model}/versions/{version}/infer".to_owned());
    expected.insert("POST /v2/repository/index".to_owned());
    assert_eq!(names, expected);
    let ids: BTreeSet<_> = operations
        .iter()
        .map(|one| one.said["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations.len(), "ids are unique");
    for one in &operations {
        let name = one.name();
        assert!(one.said["summary"].is_string(), "{name}");
        let body = (one.method == "POST").then_some("");
        let reply = one.send(&served, "application/json", body);
        assert!(![404, 405].contains(&reply.status), "{name}: {reply:?}");
        let other = (one.method != "POST").then_some("");
        if one.path != "/" {
            let reply = one.send(&served, "application/json", other);
            let unimplemented = reply.header("grpc-status") == Some("12");
            assert!(reply.status == 405 || unimplemented, "{name}: {reply:?}");
        }
    }
}

/// Routes bring their description with them; those of these files are described by hand there.
#[test]
fn routes_come_with_their_description() {
    fn visit(root: &Path, folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(root, &path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                let code = code.split("#[cfg(test)]").next().unwrap();
                // That counts requests.
                let code = code.replace("metrics.route(", "");
                if [".route(", ".nest", ".route_service("]
                    .iter()
                    .any(|call| code.contains(call))
                {
                    let path = path.strip_prefix(root).unwrap();
                    found.insert(path.to_str().unwrap().to_owned());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("serve/src");
    visit(&source, &source, &mut found);
    let by_hand = ["dialects/oip/grpc/routes.rs", "page/files.rs"];
    assert_eq!(found, by_hand.map(str::to_owned).into());
}

#[test]
fn it_is_of_this_server() {
    let served = Served::of(real("pm"));
    let document = served.get("/openapi.json").ok();
    assert!(document["components"]["securitySchemes"].is_null());
    assert!(!document.to_string().contains("\"security\""));
    assert!(document["paths"]["/rm"].is_null());

    let mut options = local();
    options.slime_paths = vec!["/rm".into(), "/rm/2".into()];
    options.slime_key = Some("reward".into());
    options.pooling_scalar = true;
    options.security.rate_limit = Some(1000.0);
    let mut first = real("one");
    first.aliases = vec!["alias".into()];
    let served = Served::start(with_keys(options), vec![first, with_end("two")]);
    assert_eq!(served.get("/openapi.json").status, 401);
    let document = described(&served);
    let all = operations(&document);
    for path in ["/", "/rm", "/rm/2", "/pooling"] {
        let found = all
            .iter()
            .find(|one| one.path == path && one.method == "POST");
        let one = found.unwrap();
        let (content_type, example) = one.requests()[0];
        let reply = one.send(&served, content_type, Some(&example.to_string()));
        reply.ok();
        one.check(&reply);
        let content = &one.said["responses"]["200"]["content"]["application/json"];
        assert_eq!(
            check(&document, &content["schema"], &content["example"]),
            Ok(())
        );
        let list = json!({"index": 0, "object": "pooling", "data": [[1.0]]});
        match path {
            "/pooling" => {
                assert!(content["example"]["data"][0]["data"].is_number());
                let schema = &document["components"]["schemas"]["Pooling"];
                assert!(check(&document, schema, &list).is_err());
            }
            _ => assert!(content["example"]["reward"].is_number()),
        }
    }
    let parameter = &document["paths"]["/v2/models/{model}"]["get"]["parameters"][0];
    assert_eq!(parameter["schema"]["enum"], json!(["one", "alias", "two"]));
    assert_eq!(parameter["example"], "one");
    assert!(document["paths"]["/info"]["get"]["responses"]["429"].is_object());
    assert!(document["paths"]["/live"]["get"]["responses"]["429"].is_null());
}

#[test]
fn the_page_of_it_needs_no_key_and_tells_nothing() {
    let served = Served::start(with_keys(local()), vec![real("secret-name")]);
    let root = served.get("/");
    for path in ["/docs", "/docs.css", "/docs.js"] {
        let reply = served.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert!(!reply.body.contains("secret-name"));
        for name in [
            "content-security-policy",
            "x-content-type-options",
            "referrer-policy",
            "cross-origin-resource-policy",
        ] {
            assert!(root.header(name).is_some(), "{name}");
            assert_eq!(reply.header(name), root.header(name), "{path}: {name}");
        }
    }
    assert!(root.body.contains("href=\"docs\""));
    assert_eq!(served.get("/openapi.json").status, 401);
}
