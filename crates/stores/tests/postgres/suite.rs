//! The suite of `flow` for both numberings, and its cases of linked problems.

use landbridge_flow::conformance::{CASES, LINKED_CASES, linked_case};
use landbridge_stores::Numbering;

use super::desk::{self, Desk};

#[tokio::test]
async fn postgres_passes_the_suite() {
    let Some(server) = desk::server() else { return };
    for numbering in [Numbering::PerProblem, Numbering::Generated] {
        for (at, (case, check)) in CASES.into_iter().enumerate() {
            let harness = Desk::plain(&server, &format!("suite_{at}_{numbering:?}"), numbering).await;
            if let Err(found) = check(&harness).await {
                panic!("{numbering:?}: {case}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn postgres_passes_the_cases_of_linked_problems() {
    let Some(server) = desk::server() else { return };
    for (at, (case, check)) in LINKED_CASES.into_iter().enumerate() {
        let harness = Desk::plain(&server, &format!("linked_{at}"), Numbering::PerProblem).await;
        match linked_case(&harness, check).await {
            Ok(skipped) => assert_eq!(skipped, None, "{case}"),
            Err(found) => panic!("{case}: {found}"),
        }
    }
}
