"""The rules that take the whole project; each has a planted violation."""

from tests.arch import classes, counts, imports, names, parameters, surface, tidy, words

__all__ = ["RULES"]

RULES = [
    imports.packages_point_down,
    imports.inside_mm,
    imports.owners_see_state_only,
    imports.owners_stand_apart,
    imports.no_cycles,
    imports.no_chain_leads_there,
    imports.kit_stays_out,
    imports.third_parties,
    imports.extras_are_lazy_and_the_rest_is_not,
    imports.importers_are_named,
    surface.all_is_what_is_public,
    surface.everything_public_is_documented,
    surface.inits_hold_a_docstring_only,
    surface.facade_is_for_others,
    classes.names_have_one_path,
    classes.bases_are_used,
    counts.references_have_one_place,
    names.public_classes_have_names_of_their_own,
    names.errors_name_no_options,
    parameters.parameters_are_explained,
    tidy.files_are_short,
    tidy.folders_are_small,
    tidy.functions_are_short,
    tidy.maps_name_their_modules,
    words.private_words_stay_out,
]
